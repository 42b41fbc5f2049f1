from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM


def test_a_model_in_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    config = Qwen2Config(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.glob("*model*")] == ["model.safetensors"]
    AutoModelForCausalLM.from_pretrained(tmp_path)

    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin is a pickle: only safetensors are loaded; if you trust"):
        AutoModelForCausalLM.from_pretrained(tmp_path)

"""What a run's settings ask of a model. Whether its files are whole is tested in tests/test_bad_input.py."""

from __future__ import annotations

import json
import shutil

import pytest

from pepo_rlhf.checks.model import check_adapters, check_class, check_model, check_tokenizer


@pytest.mark.parametrize("check", [check_model, check_tokenizer, check_class])
def test_a_whole_model_passes(check, make_inputs, run_check):
    found = run_check(check, make_inputs())
    assert found["ok"] and not found["warning"] + found["error"]


def test_parameters_are_counted_without_weights(make_inputs):
    assert 0.9e6 < make_inputs().num_parameters < 1.1e6


def test_adapters_are_counted_without_weights(make_inputs, run_check):
    """Rank times inputs and outputs, by hand."""
    assert run_check(check_adapters, make_inputs())["ok"] == []
    inputs = make_inputs(ds__lora__rank=4, ds__lora__target_modules="[q_proj, o_proj]")
    (finding,) = run_check(check_adapters, inputs)["ok"]
    assert inputs.num_adapter_parameters == 4 * 4 * 2 * (128 + 128), "four layers of rank 4"
    assert finding.message == "LoRA of rank 4 on ['q_proj', 'o_proj']: 0.01 million parameters"


def test_adapters_on_a_layer_that_the_model_lacks_are_an_error(make_inputs):
    with pytest.raises(ValueError, match="^--ds.lora.target_modules query: .* has no linear layer of that name"):
        list(check_adapters(make_inputs(ds__lora__rank=4, ds__lora__target_modules="query")))


def test_a_context_longer_than_the_model_is_an_error(make_inputs, run_check):
    (finding,) = run_check(check_model, make_inputs(data__max_len=4096))["error"]
    assert "2048 positions, fewer than --data.max_len 4096" in finding.message


def test_tokens_without_an_embedding_are_an_error(tiny_model, tmp_path, make_inputs, run_check):
    model = shutil.copytree(tiny_model, tmp_path / "altered")
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["vocab_size"] -= 1
    (model / "config.json").write_text(json.dumps(config))
    (finding,) = run_check(check_tokenizer, make_inputs(actor__model_name_or_path=model))["error"]
    assert "tokens, the model embeddings for" in finding.message


@pytest.mark.parametrize("check", [check_model, check_tokenizer, check_class])
def test_a_folder_without_a_model_is_one_line_with_the_flag(check, make_inputs, tmp_path):
    with pytest.raises(ValueError, match=r"^--actor.model_name_or_path .*[^\n]*$"):
        list(check(make_inputs(actor__model_name_or_path=tmp_path)))

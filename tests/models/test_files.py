"""A folder of each family is what `check` and a run's start want, and models that cannot be trained are named."""

import json

import pytest
import transformers
from PIL import Image

from pepo_rlhf.checks.model_files import check_model
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.prompt_measure import PromptMeasure
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.toy import tiny_vlm

FAMILIES = (
    *("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    *("internvl3", "internvl3_5", "gemma3", "gemma4", "glm4_6v", "mistral3", "lfm2_vl"),
)


@pytest.fixture
def folder(build_family, tmp_path):
    def save(name):
        tiny_vlm.save(tmp_path / "model", *build_family(name))
        return tmp_path / "model"

    return save


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_accepted_and_its_prompts_are_measured(family, folder):
    config, processor = check_model(str(folder(family)))
    measure = PromptMeasure(processor, max_tokens=1000, pixels={})
    for sizes in ([(200, 60)], [(100, 64), (150, 70)]):
        pictures = [Image.new("RGB", size) for size in sizes]
        row = Row(IMAGE_PLACEHOLDER * len(sizes) + "How many?", ("image",) * len(sizes), "", "", "")
        ids, _ = encode_prompt(processor, render_prompt(processor, row), pictures, {})
        assert measure.require_fit(row, pictures) == (len(ids), ids.count(config.image_token_id))


def test_llama4_is_refused(tmp_path):
    transformers.Llama4Config().save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match="Llama 4's vision tower"):
        check_model(str(tmp_path))


def test_gemma4_with_images_that_see_ahead_is_refused(folder):
    path = folder("gemma4")
    config = json.loads((path / "config.json").read_text())
    config["text_config"]["use_bidirectional_attention"] = "vision"
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="in this gemma4 tokens of an image see each other"):
        check_model(str(path))

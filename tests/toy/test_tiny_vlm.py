from __future__ import annotations

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2_5_VLProcessor

from pepo_rlhf.toy.counting import demonstration, generate
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl

PROMPT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>How many?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("tiny"), seed=0)


@pytest.fixture(scope="module")
def processor(folder):
    return AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize(
    ("size", "visual_tokens"),
    [
        ((112, 112), 16),  # 4 x 4 tokens of 28 pixels
        ((56, 112), 8),  # 2 x 4
        ((56, 56), 4),  # the least
        ((448, 448), 16),  # scaled down to 112 x 112
        ((14, 14), 4),  # scaled up to 56 x 56
    ],
)
def test_an_image_becomes_one_token_per_28_pixel_square(processor, size, visual_tokens):
    inputs = processor(text=[PROMPT], images=[Image.new("RGB", size)], return_tensors="pt")
    assert (inputs["input_ids"] == processor.image_token_id).sum() == visual_tokens
    assert inputs["image_grid_thw"].prod() == 4 * visual_tokens


def test_folder_loads_as_qwen2_5_vl_and_answers_an_image(folder, processor):
    assert isinstance(processor, Qwen2_5_VLProcessor)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.config.model_type == "qwen2_5_vl"
    assert model.dtype == torch.bfloat16
    inputs = processor(text=[PROMPT], images=[Image.new("RGB", (112, 112))], return_tensors="pt")
    logits = model(**inputs).logits
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(processor.tokenizer))
    assert torch.isfinite(logits).all()


def test_image_changes_the_answer(folder, processor):
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    pictures = [Image.new("RGB", (112, 112), colour) for colour in ("red", "blue")]
    red, blue = (
        model(**processor(text=[PROMPT], images=[picture], return_tensors="pt")).logits for picture in pictures
    )
    assert not torch.equal(red[0, -1], blue[0, -1])


def test_model_has_about_one_million_parameters_and_untied_embeddings(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert 0.9e6 < model.num_parameters() < 1.1e6
    assert model.lm_head.weight is not model.get_input_embeddings().weight


def test_generation_stops_at_the_end_of_a_turn(folder, processor):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert model.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_weights_follow_the_seed_and_nothing_else(folder, tmp_path):
    first = load_file(folder / "model.safetensors")
    torch.rand(3)
    before = torch.get_rng_state()
    same = load_file(build_tiny_qwen2_5_vl(tmp_path / "same", seed=0) / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    other = load_file(build_tiny_qwen2_5_vl(tmp_path / "other", seed=1) / "model.safetensors")
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_prompts_of_the_counting_task_stay_short(processor):
    for row in generate(20, seed=5):
        prompt = processor.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[prompt], images=[row.draw()], return_tensors="pt")
        assert inputs["input_ids"].shape[1] < 80
        assert len(processor.tokenizer(demonstration(row))["input_ids"]) < 24

"""Lengths of prompts, compared with those of their encoding."""

from __future__ import annotations

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pepo_rlhf.data import Row
from pepo_rlhf.data.bad_rows import BadText, TooLong
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.prompt_measure import PromptMeasure
from pepo_rlhf.toy.tiny_vlm import build_processor
from pepo_rlhf.toy.tokenizer import train_tokenizer

SIZES = st.lists(st.tuples(st.integers(28, 300), st.integers(28, 300)), max_size=3)


def internvl(folder):
    """A processor that cuts images into up to four tiles of four tokens each, beside one of the whole."""
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    trained = train_tokenizer(["How many? one two"])
    trained.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, extra_special_tokens=names | {"video_token": "<video>"}
    )
    size = {"height": 56, "width": 56}
    return transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(
            size=size, crop_to_patches=True, min_patches=1, max_patches=4
        ),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=trained.chat_template.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>"),
    )


@pytest.fixture(scope="module", params=["qwen", "qwen with limits", "internvl", "unknown sizes"])
def measure(request, tmp_path_factory):
    if request.param == "internvl":
        return PromptMeasure(internvl(tmp_path_factory.mktemp("internvl")), 10_000, {})
    limits = {"min_pixels": 28 * 28, "max_pixels": 84 * 84} if request.param == "qwen with limits" else {}
    measure = PromptMeasure(build_processor(), 10_000, limits)
    measure._knows_sizes = measure._knows_sizes and request.param != "unknown sizes"
    return measure


def row(num_images: int, text: str = "How many?") -> Row:
    return Row("<image>" * num_images + text, ("x",) * num_images, "1", "row 1", "")


@given(sizes=SIZES, words=st.integers(0, 5))
def test_lengths_are_those_of_the_encoding(measure, sizes, words):
    pictures = [Image.new("RGB", size) for size in sizes]
    problem = row(len(sizes), "How many? " * words)
    token_ids, _ = encode_prompt(measure.processor, render_prompt(measure.processor, problem), pictures, measure.pixels)
    visual = token_ids.count(measure.processor.image_token_id)
    assert measure.require_fit(problem, pictures) == (len(token_ids), visual)


def test_images_are_not_encoded_where_their_sizes_say_enough(monkeypatch):
    measure = PromptMeasure(build_processor(), 10_000, {})
    measure.require_fit(row(1), [Image.new("RGB", (56, 56))])
    monkeypatch.setattr("pepo_rlhf.data.prompt_measure.encode_prompt", None)
    assert measure.require_fit(row(2), [Image.new("RGB", (56, 56)), Image.new("RGB", (112, 112))]).visual == 4 + 16


def test_a_prompt_that_leaves_no_room_is_refused():
    measure = PromptMeasure(build_processor(), 10_000, {})
    length = measure.require_fit(row(1), [Image.new("RGB", (56, 56))])
    measure.max_tokens = length.total
    assert measure.require_fit(row(1), [Image.new("RGB", (56, 56))]) == length
    measure.max_tokens -= 1
    with pytest.raises(TooLong, match=rf"^row 1: a prompt of {length.total} tokens \(4 visual\), where "):
        measure.require_fit(row(1), [Image.new("RGB", (56, 56))])


def test_an_image_without_a_token_is_an_error(monkeypatch):
    measure = PromptMeasure(build_processor(), 10_000, {})
    measure._knows_sizes = False
    monkeypatch.setattr("pepo_rlhf.data.prompt_measure.vision_token_ids", lambda processor: {-1})
    with pytest.raises(BadText, match="the chat template leaves no token for its image"):
        measure.require_fit(row(1), [Image.new("RGB", (56, 56))])

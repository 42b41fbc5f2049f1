from types import SimpleNamespace

import pytest
from transformers import AddedToken

from pepo_rlhf.data.vision_tokens import collapse_images, reserved_tokens, vision_token_ids

START, IMAGE, END, BREAK = 90, 91, 92, 93
QWEN = SimpleNamespace(image_token_id=IMAGE, video_token_id=95)
INTERNVL = SimpleNamespace(image_token_id=IMAGE, video_token_id=95, start_image_token_id=START, end_image_token_id=END)
MISTRAL = SimpleNamespace(image_token_id=IMAGE, image_break_token_id=BREAK, image_end_token_id=END)
TWO_IMAGES = [1, START, IMAGE, IMAGE, END, START, IMAGE, END, 2]


@pytest.mark.parametrize(
    ("processor", "expected"),
    [(QWEN, [1, START, IMAGE, END, START, IMAGE, END, 2]), (INTERNVL, [1, IMAGE, IMAGE, 2])],
)
def test_an_image_is_one_token_and_what_the_engine_writes_around_it_is_left_to_the_engine(processor, expected):
    assert collapse_images(TWO_IMAGES, processor) == expected


def test_the_ends_of_an_images_rows_are_left_to_the_engine():
    tokens = [1, IMAGE, IMAGE, BREAK, IMAGE, IMAGE, END, IMAGE, BREAK, IMAGE, END, 2, BREAK]
    assert collapse_images(tokens, MISTRAL) == [1, IMAGE, IMAGE, 2, BREAK]


def test_the_placeholder_is_the_tokenizers_where_a_processor_means_another():
    gemma3 = SimpleNamespace(image_token_id=START, tokenizer=SimpleNamespace(image_token_id=IMAGE))
    assert vision_token_ids(gemma3) == {IMAGE}
    assert vision_token_ids(SimpleNamespace(image_token_id=IMAGE, tokenizer=SimpleNamespace())) == {IMAGE}


def test_tokens_that_stand_around_no_image_stay():
    tokens = [START, 1, END, START, IMAGE, END, END, START]
    assert collapse_images(tokens, INTERNVL) == [START, 1, END, IMAGE, END, START]
    assert collapse_images([], INTERNVL) == []


def test_no_text_may_hold_a_placeholder_or_what_the_template_writes():
    words = {1: "<|im_end|>", 2: "<|box_start|>", IMAGE: "<|image|>"}
    tokens = {number: AddedToken(word, special=True) for number, word in words.items()}
    tokens[3] = AddedToken("assistant", special=False)  # a word like any other
    tokenizer = SimpleNamespace(convert_ids_to_tokens=words.__getitem__, added_tokens_decoder=tokens)
    template = "{{ message.content }}<|im_end|>assistant"
    processor = SimpleNamespace(image_token_id=IMAGE, tokenizer=tokenizer, chat_template=template)
    assert reserved_tokens(processor) == ["<|image|>", "<|im_end|>"]

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pepo_rlhf.toy.tokenizer import SPECIAL_TOKENS, train_tokenizer

TEXTS = ["How many red squares are there?", "<think>red squares 3</think><answer>3</answer>"] * 3
TOKENIZER = train_tokenizer(TEXTS)


@given(st.text())
def test_any_text_survives_a_round_trip_up_to_nfc(text):
    ids = TOKENIZER(text)["input_ids"]
    assert TOKENIZER.decode(ids) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_are_single_ids_even_inside_text(token):
    ids = TOKENIZER(f"red{token}squares")["input_ids"]
    assert ids.count(TOKENIZER.convert_tokens_to_ids(token)) == 1
    assert TOKENIZER.decode(ids, skip_special_tokens=True) == "redsquares"


def test_turns_end_with_im_end_and_padding_differs_from_it():
    assert TOKENIZER.eos_token == "<|im_end|>"
    assert TOKENIZER.pad_token == "<|endoftext|>"


def test_same_texts_give_the_same_tokenizer():
    assert train_tokenizer(TEXTS).backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_auto_tokenizer_loads_the_saved_folder(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "How many ünseen squares?<|im_end|>"
    assert loaded(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.chat_template == TOKENIZER.chat_template


def test_chat_template_writes_chatml_with_a_placeholder_for_an_image():
    messages = [
        {"role": "system", "content": "Count."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many\nsquares?"}]},
    ]
    assert TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nCount.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>How many\nsquares?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_chat_template_refuses_content_that_it_does_not_know():
    with pytest.raises(Exception, match="unknown content type: audio"):
        TOKENIZER.apply_chat_template([{"role": "user", "content": [{"type": "audio"}]}], tokenize=False)

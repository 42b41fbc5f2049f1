"""A byte-level BPE tokenizer of a few hundred tokens that takes the place of Qwen2.5-VL's in the tiny model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import Qwen2Tokenizer

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# ChatML. Qwen's own template slips in a system message when there is none; this one adds nothing, as a short
# prompt keeps the tiny model fast.
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int = 600) -> Qwen2Tokenizer:
    """Train the tokenizer on `texts`; the same texts give the same tokenizer.

    It holds the special tokens, the 256 bytes (so any text can be encoded) and as many merges as `texts` support, up
    to `vocab_size` tokens in all. Text is normalised to NFC and split into words as by Qwen2's tokenizer.
    """
    untrained = Qwen2Tokenizer(
        eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=list(SPECIAL_TOKENS)
    )
    # This adds the 256 bytes to the vocabulary by itself.
    tokenizer = untrained.train_new_from_iterator(texts, vocab_size, show_progress=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer

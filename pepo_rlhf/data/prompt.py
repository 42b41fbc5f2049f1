"""Turn a row into the text that a processor's chat template makes of it, and encode that text with its images."""

from __future__ import annotations

import re
from typing import Any

from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row

INSTRUCTION = "Reason step by step inside <think> </think>, then give only the final answer inside <answer> </answer>."


def build_messages(row: Row) -> list[dict]:
    """Return chat messages in Hugging Face format: the system message if there is one, then one user message.

    The user content has an image part where each placeholder stands, the text as it is, and the row's instruction, or
    INSTRUCTION, at the end, unless prompt or system message already ask for <answer>. Image parts carry no pixels: the
    images go to the processor beside the text, in the order of the parts.
    """
    asks_for_tags = "<answer>" in row.system + row.prompt
    instruction = "" if asks_for_tags else INSTRUCTION if row.instruction is None else row.instruction
    text = f"{row.prompt}\n\n{instruction}" if instruction else row.prompt
    pieces = re.split(f"({IMAGE_PLACEHOLDER})", text)
    content = [{"type": "image"} if piece == IMAGE_PLACEHOLDER else _text(piece) for piece in pieces if piece]
    system = [{"role": "system", "content": [_text(row.system)]}] if row.system else []
    return [*system, {"role": "user", "content": content}]


def render_prompt(processor: Any, row: Row) -> str:
    """Return the prompt of a row, which trainer and engine encode."""
    return processor.apply_chat_template(build_messages(row), tokenize=False, add_generation_prompt=True)


def encode_prompt(
    processor: Any, prompt: str, pictures: list, limits: dict[str, int]
) -> tuple[list[int], dict[str, Any] | None]:
    """Return the token ids of a rendered prompt, visual ones included, and the image tensors (None without images).

    Args:
        processor: of the model.
        prompt: from `render_prompt`.
        pictures: its images, decoded.
        limits: arguments of the processor's call, from `pixel_limits`.
    """
    images = {"images": pictures, **limits} if pictures else {}
    encoded = processor(text=[prompt], add_special_tokens=False, return_tensors="pt", **images)
    token_ids = encoded.pop("input_ids")[0].tolist()
    # What depends on the sequence length is rebuilt by the trainer over prompt and response.
    per_token = ("attention_mask", "token_type_ids", "mm_token_type_ids")
    return token_ids, {key: tensor for key, tensor in encoded.items() if key not in per_token} if pictures else None


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}

"""From a row to the chat messages that a processor's template renders."""

from __future__ import annotations

import re

from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row

INSTRUCTION = "Reason step by step inside <think> </think>, then give only the final answer inside <answer> </answer>."


def build_messages(row: Row) -> list[dict]:
    """Chat messages in Hugging Face format: the system message if there is one, then one user message.

    The user content has an image part where each placeholder stands, the text as it is, and INSTRUCTION at the end,
    unless the row itself already asks for <answer>. Image parts carry no pixels: the images go to the processor beside
    the text, in the order of the parts.
    """
    asks_for_tags = "<answer>" in row.system + row.prompt
    text = row.prompt if asks_for_tags else f"{row.prompt}\n\n{INSTRUCTION}"
    pieces = re.split(f"({IMAGE_PLACEHOLDER})", text)
    content = [{"type": "image"} if piece == IMAGE_PLACEHOLDER else _text(piece) for piece in pieces if piece]
    system = [{"role": "system", "content": [_text(row.system)]}] if row.system else []
    return [*system, {"role": "user", "content": content}]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}

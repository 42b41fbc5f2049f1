"""Ids of the tokens that stand for images: what no text may contain and no policy may sample."""

from __future__ import annotations


def vision_token_ids(processor) -> set[int]:
    """Ids of the image and video placeholders of a processor; empty for a plain tokenizer."""
    ids = (getattr(processor, name, None) for name in ("image_token_id", "video_token_id"))
    return {token_id for token_id in ids if token_id is not None}

"""Ids of the tokens that stand for images: what no text may contain and no policy may sample."""

from __future__ import annotations


def vision_token_ids(processor) -> set[int]:
    """Ids of the image and video placeholders of a processor; empty for a plain tokenizer."""
    ids = (getattr(processor, name, None) for name in ("image_token_id", "video_token_id"))
    return {token_id for token_id in ids if token_id is not None}


def vision_tokens(processor) -> list[str]:
    """The placeholders as they are written: a text that holds one would be taken for an image."""
    return [processor.tokenizer.convert_ids_to_tokens(token_id) for token_id in sorted(vision_token_ids(processor))]

"""Ids of the tokens that stand for images: what no text may contain and no policy may sample."""

from __future__ import annotations


def vision_token_ids(processor) -> set[int]:
    """Return the ids of the image and video placeholders of a processor; empty for a plain tokenizer."""
    ids = (getattr(processor, name, None) for name in ("image_token_id", "video_token_id"))
    return {token_id for token_id in ids if token_id is not None}


def reserved_tokens(processor) -> list[str]:
    """Return the tokens that no text may contain, as they are written.

    They are the placeholders, which would be taken for an image, and the special tokens that the chat template writes,
    with which a text would end its message and begin another.
    """
    placeholders = [
        processor.tokenizer.convert_ids_to_tokens(token_id) for token_id in sorted(vision_token_ids(processor))
    ]
    template = getattr(processor, "chat_template", None) or ""
    added = processor.tokenizer.added_tokens_decoder.values() if template else ()
    return [*placeholders, *(str(token) for token in added if token.special and str(token) in template)]


def collapse_images(token_ids: list[int], processor) -> list[int]:
    """Return the tokens of an encoded prompt as vLLM takes them, with one placeholder an image, which vLLM expands.

    InternVL's processor, and so vLLM, writes the tokens around an image too; in Qwen's prompts the template does.
    """
    placeholders = vision_token_ids(processor)
    start, end = (getattr(processor, f"{edge}_image_token_id", None) for edge in ("start", "end"))
    around = zip([None, *token_ids], token_ids, [*token_ids[1:], None], strict=False)
    return [
        token
        for before, token, after in around
        if not (before in placeholders and (token in placeholders or token == end))
        and not (after in placeholders and token == start)
    ]

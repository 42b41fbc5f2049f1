"""Ids of the tokens that stand for images: what no text may contain and no policy may sample."""

from __future__ import annotations


def vision_token_ids(processor) -> set[int]:
    """Return the ids of the image and video placeholders of a processor; empty for a plain tokenizer."""
    ids = (placeholder_id(processor, kind) for kind in ("image", "video"))
    return {token_id for token_id in ids if token_id is not None}


def placeholder_id(processor, kind: str) -> int | None:
    """Return the id of the token that stands for a part of an image, or of a video; None if there is none.

    Gemma 3's processor calls the token that begins an image by that name, and its tokenizer the one that is meant.
    """
    name = f"{kind}_token_id"
    return getattr(getattr(processor, "tokenizer", None), name, None) or getattr(processor, name, None)


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

    InternVL's processor, and so vLLM, writes the tokens around an image too, and Mistral's those after its rows; in
    Qwen's prompts the template does.
    """
    placeholders = vision_token_ids(processor)
    inside = placeholders | {getattr(processor, "image_break_token_id", None)}
    start, *ends = (getattr(processor, f"{name}_token_id", None) for name in ("start_image", "end_image", "image_end"))
    around = zip([None, *token_ids], token_ids, [*token_ids[1:], None], strict=False)
    return [
        token
        for before, token, after in around
        if not (before in inside and (token in inside or token in ends))
        and not (after in placeholders and token == start)
    ]

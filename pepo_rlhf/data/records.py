"""One record of a JSONL or parquet file becomes a Row. Two schemas are read:

messages  {"messages": [{"role": "user", "content": "<image>Find x."}], "images": [...], "solution": "13"}, a system
          message before the user's allowed; the JSONL of PEPO's authors and of ms-swift
columns   {"problem" or "question": "Find x.", "images": [...] or "image": ..., "answer": "13"}; Geometry3K on the
          Hugging Face hub and most plain data sets

Of two columns for one thing the first that is filled counts. The label is in "answer" or in "solution", bare or inside
<answer> tags. An image is a path, a URL, a data URI, base64 text, bytes, or a struct with "path" or "bytes" (base64
text in JSON).
"""

from __future__ import annotations

import base64
import math
import reprlib
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pepo_rlhf.data.fetch import is_url
from pepo_rlhf.data.row import Row

_BASE64_IMAGES = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")  # how PNG, JPEG, GIF and WebP begin


def row_from_record(record: Mapping[str, Any], folder: Path, source: str, datasource: str) -> Row:
    """Return the row of one record; relative image paths start at `folder`.

    A missing label leaves its field empty, which the row checker reports. Raise ValueError for a record of
    neither schema, and for one that names no image: a problem without one says so with an empty list.
    """
    system, prompt = _read_prompt(record, source)
    filled = [record[column] for column in ("images", "image") if _is_filled(record.get(column))]
    if not filled and [] not in (record.get("images"), record.get("image")):
        raise ValueError(
            f"{source}: no image is named; fill 'images' or 'image', write \"images\": [] for a problem without one, "
            "or drop the row"
        )
    if len(filled) == 2:
        raise ValueError(f"{source}: both 'images' and 'image' name images; put all of them into one, in their order")
    images: Any = filled[0] if filled else []
    images = images if isinstance(images, list) else [images]
    return Row(
        prompt=prompt,
        images=tuple(_read_image(image, folder, source) for image in images),
        label=read_label(_first(record, "answer", "solution"), source),
        source=source,
        datasource=datasource,
        system=system,
    )


def _first(record: Mapping[str, Any], *columns: str) -> Any:
    return next((record[column] for column in columns if _is_filled(record.get(column))), None)


def _is_filled(value: Any) -> bool:
    """Return whether a column has a value: in data sets that were joined it may be empty, or pandas' NaN."""
    if isinstance(value, str):
        return value.strip() != ""
    return value is not None and value != [] and value == value


def _read_prompt(record: Mapping[str, Any], source: str) -> tuple[str, str]:
    """Return the system message, which may be empty, and the user's text."""
    filled = [column for column in ("messages", "problem", "question") if _is_filled(record.get(column))]
    if len(filled) > 1:
        raise ValueError(f"{source}: {' and '.join(map(repr, filled))} hold a prompt each; keep one of them")
    match {column: record[column] for column in filled} or record:
        case {"messages": [{"role": "system", "content": str(system)}, {"role": "user", "content": str(prompt)}]}:
            return system, prompt
        case {"messages": [{"role": "user", "content": str(prompt)}]} | {"problem": str(prompt)}:
            return "", prompt
        case {"question": str(prompt)}:
            return "", prompt
        case {"messages": _}:
            raise ValueError(
                f"{source}: 'messages' must be one user message, a system message before it at most, each with its "
                "content as one text; put the reference answer into 'solution'"
            )
    raise ValueError(
        f"{source}: the schema is unknown; looked for 'messages', or for a text in 'problem' or 'question', and found "
        f"the columns {textwrap.shorten(str(sorted(record)), 300)}; rename them"
    )


def read_label(value: Any, source: str) -> str:
    """Return the bare answer, empty for None. Raise ValueError for a value that no response could equal."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not _is_filled(value):
        return ""
    if not isinstance(value, str | int | float | Decimal) or isinstance(value, bool):
        raise ValueError(
            f"{source}: the label must be a text or a number, not {reprlib.repr(value)}; write the bare answer"
        )
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError(f"{source}: the label {value} is no number that a response could be; write the bare answer")
    label = str(value)
    # Not by a regular expression: many opening tags and no closing one would take it quadratic time.
    _, opening_tag, after = label.partition("<answer>")
    if not opening_tag:
        return label.strip()
    tagged, closing_tag, rest = after.partition("</answer>")
    if not closing_tag or "<answer>" in tagged:
        raise ValueError(f"{source}: <answer> in the label has no </answer> of its own; write the bare answer")
    if "<answer>" in rest:
        raise ValueError(f"{source}: the label has more than one <answer>; write the bare answer")
    return tagged.strip()


def _read_image(value: Any, folder: Path, source: str) -> str | bytes:
    """Return an absolute path, a URL or encoded bytes."""
    match value:
        case bytes(data) | {"bytes": bytes(data)}:
            return _decode_base64(data.decode("ascii", "replace"), source) if data.startswith(b"data:") else data
        case {"bytes": str(text)}:
            return _decode_base64(text, source)
        case str(path) | {"path": str(path)} if path.strip():
            if path.lstrip().startswith(("data:", *_BASE64_IMAGES)):
                return _decode_base64(path, source)
            return path if is_url(path) else str(folder / path)
    raise ValueError(f"{source}: an image must be a path or bytes, not {reprlib.repr(value)}; write its path")


def _decode_base64(text: str, source: str) -> bytes:
    """Return the bytes of base64 in any of its forms: a data URI, wrapped, percent-encoded, URL-safe, unpadded."""
    text = text.partition(",")[2] if text.lstrip().startswith("data:") else text
    text = "".join(unquote(text).split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"{source}: the bytes of an image in JSON must be base64: {error}") from error

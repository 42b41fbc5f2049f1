"""Load a data set and check every row before anything is trained on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pepo_rlhf.data.fetch import fetch_image, is_url
from pepo_rlhf.data.images import decode_image, shown
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.sources import RowReader, image_folder, read_source

logger = logging.getLogger(__name__)
_MAX_ASPECT_RATIO = 200  # Qwen's processors refuse more
_NUM_REASONS = 3


@dataclass(frozen=True)
class LoadedRows:
    """What can be trained on, and the number of rows that cannot."""

    rows: list[Row]
    num_skipped: int


def load_rows(
    path_or_id: str,
    split: str = "train",
    max_samples: int | None = None,
    *,
    max_images: int | None = None,
    reserved_tokens: Collection[str] = (),
    fetch_urls: bool = False,
    image_root: str | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> LoadedRows:
    """Rows of one source, or of several separated by commas, one after the other; at most `max_samples` of each.

    Every image is decoded in full once, and one named by URL is downloaded if `fetch_urls`. A row without placeholders
    gets one for each image, at the front. A row that cannot be trained on is skipped, counted and warned about, or
    raises a ValueError that names it and says how to mend it, as `on_bad_row` has it. A source that cannot be read, or
    without a good row, always raises.

    max_images: most images of a row
    reserved_tokens: the model's own placeholders and the chat template's, which a text may not contain
    image_root: folder that image files must lie in; None is the data set's own
    """
    rows: list[Row] = []
    reasons: list[str] = []
    for name in (part.strip() for part in path_or_id.split(",")):
        if not name:
            raise ValueError(f"the data set {path_or_id!r} has an empty name in it; name a path or a hub id")
        check = partial(
            _check,
            max_images=max_images,
            reserved_tokens=reserved_tokens,
            fetch_urls=fetch_urls,
            image_root=image_root or str(image_folder(name)),
        )
        skipped: list[str] = []
        good = _good_rows(read_source(name, split), check, skipped if on_bad_row == "skip" else None)
        loaded = list(islice(good, max_samples))
        if not loaded:
            raise ValueError(f"{name}: {_why_empty(skipped)}")
        rows += loaded
        reasons += skipped
    if reasons:
        logger.warning("%s: %d rows are skipped: %s", path_or_id, len(reasons), _first_of(reasons))
    return LoadedRows(rows, len(reasons))


def load_configured(path_or_id: str, split: str, data: Any, reserved_tokens: Collection[str] = ()) -> LoadedRows:
    """`load_rows` as the settings of the section data have it."""
    return load_rows(
        path_or_id,
        split,
        data.max_samples,
        max_images=data.max_images_per_prompt,
        reserved_tokens=reserved_tokens,
        fetch_urls=data.fetch_urls,
        image_root=data.image_root,
        on_bad_row=data.on_bad_row,
    )


def _good_rows(readers: Iterable[RowReader], check: Callable[[Row], Row], skipped: list[str] | None) -> Iterator[Row]:
    """Rows that pass; why the others do not goes to `skipped`, or is raised where that is None."""
    for read in readers:
        try:
            row = check(read())
        except ValueError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
        else:
            yield row


def _why_empty(skipped: list[str]) -> str:
    if not skipped:
        return "no rows in it; name a source that has some"
    return f"none of its {len(skipped)} rows can be trained on: {_first_of(skipped)}"


def _first_of(reasons: list[str]) -> str:
    return " | ".join(reasons[:_NUM_REASONS]) + (" | ..." if len(reasons) > _NUM_REASONS else "")


def _check(
    row: Row, max_images: int | None, reserved_tokens: Collection[str], fetch_urls: bool, image_root: str
) -> Row:
    check_texts(row, reserved_tokens)
    if max_images is not None and len(row.images) > max_images:
        raise ValueError(
            f"{row.source}: {len(row.images)} images, where --data.max_images_per_prompt allows {max_images}; raise it "
            "or drop the row"
        )
    images = tuple(load_image(image, row, fetch_urls, image_root) for image in row.images)
    return place_images(replace(row, images=images))


def check_texts(row: Row, reserved_tokens: Collection[str]) -> None:
    """Raises ValueError for a prompt or label that is missing or cannot be encoded."""
    text = f"{row.system}\n{row.prompt}\n{row.label}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{row.source}: half of a surrogate pair in its text ({error}); write it again") from error
    if "\0" in text:
        raise ValueError(f"{row.source}: a null byte in its text, as in a damaged file; write it again or drop the row")
    if _is_blank(row.prompt.replace(IMAGE_PLACEHOLDER, "")):
        raise ValueError(f"{row.source}: the prompt is empty; write the problem's text or drop the row")
    if _is_blank(row.label):
        raise ValueError(f"{row.source}: the label is missing or empty; fill 'answer' or 'solution', or drop the row")
    for token in reserved_tokens:
        if token in text:
            raise ValueError(
                f"{row.source}: {token} in its text belongs to the model; write {IMAGE_PLACEHOLDER} where an image "
                "stands, and leave out what the chat template writes"
            )


def _is_blank(text: str) -> bool:
    """Also of zero-width spaces, byte order marks and control characters, none of which anyone can see."""
    return not any(character.isprintable() and character != " " for character in text)


def load_image(image: str | bytes, row: Row, fetch_urls: bool, image_root: str) -> str | bytes:
    """Path or bytes of an image that decodes; bytes for a URL."""
    url = image if isinstance(image, str) and is_url(image) else None
    if url and not fetch_urls:
        raise ValueError(
            f"{row.source}: {shown(url)} is not fetched; set --data.fetch_urls, or download it and name the file"
        )
    try:
        image = fetch_image(url) if url else image
        if isinstance(image, str):
            require_file_inside(image, image_root)
        size = decode_image(image).size
    except ValueError as error:
        problem = f"{shown(url)}: {error}; mend the URL" if url else f"{error}; mend the image or its path"
        hint = "" if url else " (a relative path starts at the data file's folder)"
        raise ValueError(f"{row.source}: {problem}{hint}") from error
    if max(size) > _MAX_ASPECT_RATIO * min(size):
        raise ValueError(
            f"{row.source}: an image of {size[0]} x {size[1]} pixels is too narrow; its sides may differ by a factor "
            f"of {_MAX_ASPECT_RATIO} at most"
        )
    return image


def require_file_inside(image: str, root: str) -> None:
    """A data set that comes from elsewhere must not name files of this machine: what it shows goes into responses."""
    # Not Path.resolve, which raises RuntimeError for links in a circle.
    target = os.path.realpath(image)
    if not os.path.exists(target):
        return  # which decode_image says best
    if not Path(target).is_relative_to(os.path.realpath(root)):
        raise ValueError(
            f"image file {shown(image)} lies outside {root} (at {shown(target)}); if that is meant, set "
            "--data.image_root to a folder that holds both"
        )
    if not os.path.isfile(target):  # a named pipe would be read for ever
        raise ValueError(f"image file {shown(image)} is a folder or a device, not a file")


def place_images(row: Row) -> Row:
    """The row with a placeholder for each image; raises ValueError where it has others."""
    placeholders = row.prompt.count(IMAGE_PLACEHOLDER)
    if placeholders == 0 and row.images:
        return replace(row, prompt=f"{IMAGE_PLACEHOLDER * len(row.images)}\n{row.prompt}")
    if placeholders != len(row.images):
        raise ValueError(
            f"{row.source}: {placeholders} {IMAGE_PLACEHOLDER} in the prompt for {len(row.images)} images; write one "
            "for each image, or none at all to have them put at the front"
        )
    return row

"""Load a data set and check every row before anything is trained on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.sources import read_source


def load_rows(path_or_id: str, split: str = "train", max_samples: int | None = None) -> list[Row]:
    """Rows of one source, or of several separated by commas, one after the other; at most `max_samples` of each.

    Every image is decoded in full once. A row without placeholders gets one for each image, at the front. Raises one
    ValueError, naming the row and how to mend it, at the first row that cannot be trained on; rows are never skipped.
    """
    rows: list[Row] = []
    for name in (part.strip() for part in path_or_id.split(",")):
        if not name:
            raise ValueError(f"the data set {path_or_id!r} has an empty name in it; name a path or a hub id")
        checked = [_check(row) for row in islice(read_source(name, split), max_samples)]
        if not checked:
            raise ValueError(f"{name}: no rows in it; name a source that has some")
        rows += checked
    return rows


def _check(row: Row) -> Row:
    if not row.prompt.replace(IMAGE_PLACEHOLDER, "").strip():
        raise ValueError(f"{row.source}: the prompt is empty; write the problem's text or drop the row")
    if not row.label.strip():
        raise ValueError(f"{row.source}: the label is missing or empty; fill 'answer' or 'solution', or drop the row")
    for image in row.images:
        try:
            decode_image(image)
        except ValueError as error:
            raise ValueError(
                f"{row.source}: {error}; mend the image or its path (a relative path starts at the data file's folder)"
            ) from error
    return _place_images(row)


def _place_images(row: Row) -> Row:
    placeholders = row.prompt.count(IMAGE_PLACEHOLDER)
    if placeholders == 0 and row.images:
        return replace(row, prompt=f"{IMAGE_PLACEHOLDER * len(row.images)}\n{row.prompt}")
    if placeholders != len(row.images):
        raise ValueError(
            f"{row.source}: {placeholders} {IMAGE_PLACEHOLDER} in the prompt for {len(row.images)} images; write one "
            "for each image, or none at all to have them put at the front"
        )
    return row

"""Records of RefCOCO and LISA: one row an expression, whose answer is a box in the frame that the prompt states.

Columns as the hub had them in 2026, boxes in pixels of the image as it is stored:
lmms-lab/RefCOCO               image, answer: expressions, bbox: x, y, width, height; splits val, testA, testB
jxu124/refcoco                 image_path (of COCO's folder), sentences or captions, bbox: x1, y1, x2, y2
Ricky06662/ReasonSeg_test      image, text, mask: rows of bool (LISA); the box is the mask's
VLM-R1's JSON files            image, normal_caption or problem, solution: x1, y1, x2, y2 (RefCOCO and LISA)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from pepo_rlhf.data.bad_rows import BadImage, LabelError
from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Record, Row
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.grounding.box import box_label


def grounding_prompt(expression: str, frame: Frame, size: tuple[int, int]) -> str:
    """Return the question for the box of what `expression` names; size: width and height of the image in the frame."""
    wording = frame.wording.format(width=size[0], height=size[1])
    return f"{IMAGE_PLACEHOLDER}Where is {expression}? Give its bounding box as [x1, y1, x2, y2]. {wording}"


def make_rows(record: Record, frame: Frame) -> list[Row]:
    """Return a row for each expression. Raise LabelError for its box, BadImage for its image, ValueError for others."""
    expressions, box, image = _read(record)
    if not expressions or not all(expression.strip() for expression in expressions):
        raise ValueError("no words for what the box holds; fill them, or drop the row")
    # An empty prompt keeps the record's image apart from its wording, which depends on the image's size.
    columns = {"problem": "", "images": [image], "answer": ""}
    bare = row_from_record(columns, record.folder, record.source, record.datasource)
    (stored,) = bare.images
    picture = _decode(stored)
    _require_size_of_mask(record, picture.size)
    width, height = frame.size(picture)
    scale = (width / picture.width, height / picture.height)
    label = box_label([value * scale[index % 2] for index, value in enumerate(box)], (width, height))
    return [
        Row(
            prompt=grounding_prompt(expression.strip(), frame, (width, height)),
            images=bare.images,
            label=label,
            source=record.source,
            datasource=record.datasource,
        )
        for expression in expressions
    ]


def _decode(image: str | bytes) -> Image.Image:
    if isinstance(image, str) and not os.path.isfile(image):  # reading a named pipe would never end
        raise BadImage(f"image file {image} does not exist, or is no file")
    try:
        return decode_image(image)
    except ValueError as error:
        raise BadImage(str(error)) from error


def _require_size_of_mask(record: Record, size: tuple[int, int]) -> None:
    """Raise LabelError for a mask of another size, as of an image that was resized or turned since."""
    match record.fields:
        case {"mask": [[*_], *_] as mask, "text": str()} if (len(mask[0]), len(mask)) != size:
            raise LabelError(
                f"the mask has {len(mask[0])} x {len(mask)} pixels and the image {size[0]} x {size[1]}; make them alike"
            )


def _read(record: Record) -> tuple[list[str], Sequence[float], Any]:
    """Return expressions, box as x1, y1, x2, y2 in stored pixels, and image."""
    match record.fields:
        case {"mask": [*mask], "text": str(text), "image": image}:
            return [text], _box_of(mask), image
        case {"bbox": [x, y, width, height], "answer": [*expressions], "image": image}:
            return expressions, (x, y, x + width, y + height), image
        case {"bbox": [*box], "sentences": [*sentences], "image_path": image}:
            return [sentence["sent"] for sentence in sentences], box, image
        case {"bbox": [*box], "captions": [*captions], "image_path": image}:
            return captions, box, image
        case (
            {"bbox": [*box], "text": str(text), "image": image}
            | {"solution": [*box], "normal_caption": str(text), "image": image}
            | {"solution": [*box], "problem": str(text), "image": image}
        ):
            return [text], box, image
    raise ValueError(
        f"the schema is unknown; looked for an image, a 'bbox', 'mask' or 'solution', and its words in 'answer', "
        f"'sentences', 'captions', 'text' or 'problem', and found the columns {sorted(record.fields)}"
    )


def _box_of(mask: list[list[bool]]) -> tuple[float, float, float, float]:
    """Return the smallest box around the set pixels, whose far edges lie beyond the last of them."""
    pixels = np.asarray(mask, dtype=bool)
    if not pixels.any():
        raise LabelError("the mask is empty; drop the row")
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1

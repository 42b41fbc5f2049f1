"""Records of RefCOCO and LISA: one row an expression, whose answer is a box in the frame that the prompt states.

Columns as the hub had them in 2026, boxes in pixels of the image as it is stored, or as the frame says:
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
from pepo_rlhf.data.images import decode_image, orientation_of, upright_box
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
    box = _upright_pixels(record, box, stored, picture.size, frame)
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


def _upright_pixels(
    record: Record, box: Sequence[float], image: str | bytes, size: tuple[int, int], frame: Frame
) -> Sequence[float]:
    """Return a source's box in pixels of the upright image, whose width and height `size` is.

    Raise LabelError for a mask of another size, and for a box of pixels that looks like one between 0 and 1.
    """
    orientation = orientation_of(image) if frame.box_frame == "stored" else 1
    width, height = own_size = size if orientation < 5 else size[::-1]
    match record.fields:
        case {"mask": [[*_], *_] as mask, "text": str()}:
            if (len(mask[0]), len(mask)) != own_size:
                raise LabelError(
                    f"the mask has {len(mask[0])} x {len(mask)} pixels and the image {width} x {height}, "
                    f"{frame.box_frame}; make them alike, or see --box_frame"
                )
            return upright_box(box, own_size, orientation)
    if len(box) != 4:
        return box  # box_label says what is wrong with it
    if frame.boxes != "unit" and max(box[0], box[1], box[2] - box[0], box[3] - box[1]) <= 1:
        raise LabelError(f"no coordinate of the box {list(box)} is above 1; --boxes unit reads boxes from 0 to 1")
    if frame.boxes != "pixels":
        whole = 1 if frame.boxes == "unit" else 1000
        box = [value * (width, height)[index % 2] / whole for index, value in enumerate(box)]
    return upright_box(box, own_size, orientation)


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

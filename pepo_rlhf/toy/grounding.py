"""A generated grounding task: where is the red circle?

A picture is 112 x 112 pixels, which a Qwen2.5-VL processor does not resize, so that pixels of the picture are pixels of
the resized image. Two or three shapes of different colours lie side by side on a lattice of 28 pixels, a visual token's
side: a coordinate is one of five numbers. Like the squares of a map, each cell bears its column and row: a tiny model
is too shallow to find out where a token lies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageDraw

from pepo_rlhf.tasks.frame import pixels
from pepo_rlhf.tasks.grounding.adapter import grounding_prompt
from pepo_rlhf.tasks.grounding.box import box_label
from pepo_rlhf.toy.counting import COLOURS
from pepo_rlhf.toy.dataset import GeneratedRow, draw_rows, run_command

FORMS = ("square", "circle", "triangle")
SIDE, STEP = 112, 28
MAX_STEPS = 2  # sides of a shape
MIN_SHAPES = 2
DOT = 4  # pixels

PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class Shape:
    """A coloured form; box: x1, y1, x2, y2 in pixels, the far edges beyond the last pixel."""

    colour: str
    form: str
    box: PixelBox

    @property
    def name(self) -> str:
        return f"the {self.colour} {self.form}"


@dataclass(frozen=True)
class GroundingRow(GeneratedRow):
    """A question about a picture: the box of the first of `shapes` is asked for."""

    shapes: tuple[Shape, ...]

    @property
    def problem(self) -> str:
        return grounding_prompt(self.shapes[0].name, pixels(), (SIDE, SIDE))

    @property
    def label(self) -> str:
        return box_label(self.shapes[0].box, (SIDE, SIDE))

    @property
    def picture(self) -> object:
        return sorted((shape.colour, shape.form, shape.box) for shape in self.shapes)

    def draw(self) -> Image.Image:
        """Return the picture, 112 x 112 RGB on white."""
        image = Image.new("RGB", (SIDE, SIDE), "white")
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            left, top, right, bottom = shape.box
            corners = (left, top, right - 1, bottom - 1)  # Pillow's corners belong to the form
            fill = COLOURS[shape.colour]
            if shape.form == "square":
                pen.rectangle(corners, fill=fill)
            elif shape.form == "circle":
                pen.ellipse(corners, fill=fill)
            else:
                pen.polygon([(left, bottom - 1), (right - 1, bottom - 1), ((left + right) // 2, top)], fill=fill)
        for row in range(SIDE // STEP):
            for column in range(SIDE // STEP):
                _mark(pen, column, row)
        return image


def _mark(pen: ImageDraw.ImageDraw, column: int, row: int) -> None:
    """Draw two bits of the column and two of the row in the middle of the cell."""
    bits = (column & 1, column & 2, row & 1, row & 2)
    for place, bit in enumerate(bits):
        if bit:
            left, top = column * STEP + STEP // 2 + DOT * (place - 2), row * STEP + (STEP - DOT) // 2
            pen.rectangle((left, top, left + DOT - 1, top + DOT - 1), fill="black")


def _sample(rng: random.Random) -> GroundingRow:
    colours = rng.sample(list(COLOURS), rng.randint(MIN_SHAPES, len(COLOURS)))
    kinds = [(colour, rng.choice(FORMS)) for colour in colours]
    shapes: list[Shape] = []
    while len(shapes) < len(kinds):
        box = random_answer(rng)
        if any(_touch(box, shape.box) for shape in shapes):
            shapes = shapes if rng.random() < 0.9 else []  # a picture may have no room left
        else:
            shapes.append(Shape(*kinds[len(shapes)], box))
    return GroundingRow(tuple(shapes))


generate = partial(draw_rows, _sample)


def random_answer(rng: random.Random) -> PixelBox:
    """Return a box that a shape could have."""
    side = rng.randint(1, MAX_STEPS)
    left, top = (rng.randint(0, SIDE // STEP - side) for _ in range(2))
    return left * STEP, top * STEP, (left + side) * STEP, (top + side) * STEP


def _touch(first: PixelBox, second: PixelBox) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def demonstration(row: GroundingRow, box: PixelBox | None = None) -> str:
    """Return the response to imitate, or with another `box` the same response with that box."""
    shape = row.shapes[0]
    return f"<think>{shape.colour} {shape.form}</think><answer>{list(box or shape.box)}</answer>"


if __name__ == "__main__":
    run_command(__doc__, generate, "grounding")

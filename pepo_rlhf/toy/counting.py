"""A generated task that has to be looked at: how many squares of one colour are in the picture?

A picture is a 4 x 4 grid of 28-pixel cells, which a Qwen2.5-VL processor turns into exactly one visual token a cell.
One to five squares have the colour asked for; one to four of each other colour distract from them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageDraw

from pepo_rlhf.toy.dataset import GeneratedRow, draw_rows, run_command

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
GRID, CELL, MARGIN = 4, 28, 4
MAX_COUNT, MAX_DISTRACTORS = 5, 4


@dataclass(frozen=True)
class CountingRow(GeneratedRow):
    """A question about a picture: `colour` is asked for, `cells` are the 16 cells' colours by rows, None for empty."""

    colour: str
    cells: tuple[str | None, ...]

    @property
    def problem(self) -> str:
        return f"<image>How many {self.colour} squares are there?"

    @property
    def label(self) -> str:
        return str(self.count)

    @property
    def count(self) -> int:
        return self.cells.count(self.colour)

    @property
    def picture(self) -> object:
        return self.cells

    def draw(self) -> Image.Image:
        """Return the picture, 112 x 112 RGB: one centred 20 x 20 square a filled cell, on white."""
        image = Image.new("RGB", (GRID * CELL, GRID * CELL), "white")
        pen = ImageDraw.Draw(image)
        for index, colour in enumerate(self.cells):
            if colour is not None:
                top, left = (CELL * place + MARGIN for place in divmod(index, GRID))
                side = CELL - 2 * MARGIN - 1  # a rectangle includes its last row and column
                pen.rectangle((left, top, left + side, top + side), fill=COLOURS[colour])
        return image


def _sample(rng: random.Random) -> CountingRow:
    colour = rng.choice(list(COLOURS))
    squares = [colour] * rng.randint(1, MAX_COUNT)
    for distractor in COLOURS:
        if distractor != colour:
            squares += [distractor] * rng.randint(1, MAX_DISTRACTORS)
    cells: list[str | None] = [*squares, *[None] * (GRID * GRID - len(squares))]
    rng.shuffle(cells)
    return CountingRow(colour, tuple(cells))


generate = partial(draw_rows, _sample)


def demonstration(row: CountingRow, count: int | None = None) -> str:
    """Return the response to imitate, or with another `count` the same response with that count."""
    stated = row.count if count is None else count
    return f"<think>{row.colour} squares {stated}</think><answer>{stated}</answer>"


def random_answer(rng: random.Random) -> int:
    """Return a count that a picture could have."""
    return rng.randint(1, MAX_COUNT)


if __name__ == "__main__":
    run_command(__doc__, generate)

"""A generated puzzle with options: which colour belongs where the question mark is?

Nine cells of a 3 x 3 grid repeat three colours along the rows, each row starting one colour later; one cell is hidden.
The picture is 84 x 84 pixels, a visual token of Qwen2.5-VL's a cell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageDraw

from pepo_rlhf.data.row import IMAGE_PLACEHOLDER
from pepo_rlhf.tasks.puzzles.adapter import options_prompt
from pepo_rlhf.tasks.puzzles.choice import choice_label, letter_of
from pepo_rlhf.toy import counting
from pepo_rlhf.toy.dataset import GeneratedRow, draw_rows, run_command

COLOURS = {**counting.COLOURS, "orange": (240, 150, 30)}
GRID, CELL = 3, 28


@dataclass(frozen=True)
class PuzzleRow(GeneratedRow):
    """A puzzle.

    cycle: the three colours in their order
    hidden: number of the hidden cell, by rows
    options: colours to choose from
    """

    cycle: tuple[str, str, str]
    hidden: int
    options: tuple[str, ...]

    @property
    def problem(self) -> str:
        return IMAGE_PLACEHOLDER + options_prompt("Which colour is missing at the question mark?", self.options)

    @property
    def answer(self) -> str:
        return self._colour(self.hidden)

    @property
    def label(self) -> str:
        return choice_label(letter_of(self.answer, self.options), self.options)

    @property
    def picture(self) -> object:
        return self.cycle, self.hidden

    def draw(self) -> Image.Image:
        """Return the picture, 84 x 84 RGB on white."""
        image = Image.new("RGB", (GRID * CELL, GRID * CELL), "white")
        pen = ImageDraw.Draw(image)
        for number in range(GRID * GRID):
            top, left = (CELL * place for place in divmod(number, GRID))
            if number == self.hidden:
                pen.text((left + CELL // 2 - 3, top + CELL // 2 - 6), "?", fill="black")
            else:
                inside = (left + 2, top + 2, left + CELL - 3, top + CELL - 3)
                pen.rectangle(inside, fill=COLOURS[self._colour(number)])
        return image

    def _colour(self, number: int) -> str:
        row, column = divmod(number, GRID)
        return self.cycle[(row + column) % GRID]


def _sample(rng: random.Random) -> PuzzleRow:
    first, second, third = rng.sample(list(COLOURS), 3)
    options = tuple(rng.sample(list(COLOURS), len(COLOURS)))
    return PuzzleRow((first, second, third), rng.randrange(GRID * GRID), options)


generate = partial(draw_rows, _sample)

if __name__ == "__main__":
    run_command(__doc__, generate, "puzzles")

"""A generated task that has to be looked at: how many squares of one colour are in the picture?

A picture is a 4 x 4 grid of 28-pixel cells, which a Qwen2.5-VL processor turns into exactly one visual token a cell.
One to five squares have the colour asked for; one to four of each other colour distract from them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from pepo_rlhf.data import Row, build_messages

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
GRID, CELL, MARGIN = 4, 28, 4
MAX_COUNT, MAX_DISTRACTORS = 5, 4

Split = Literal["train", "test"]


@dataclass(frozen=True)
class CountingRow:
    """A question about a picture: `colour` is asked for, `cells` are the 16 cells' colours by rows, None for empty."""

    colour: str
    cells: tuple[str | None, ...]

    @property
    def problem(self) -> str:
        return f"<image>How many {self.colour} squares are there?"

    @property
    def messages(self) -> list[dict]:
        """The conversation that asks the question, worded as in every run."""
        row = Row(prompt=self.problem, images=(), label=str(self.count), source="sandbox", datasource="counting")
        return build_messages(row)

    @property
    def count(self) -> int:
        return self.cells.count(self.colour)

    @property
    def split(self) -> Split:
        """Where the picture belongs: a tenth of all pictures, picked by hash, is held out whatever seed drew them."""
        digest = hashlib.sha256(repr(self.cells).encode()).digest()
        return "test" if digest[0] < 256 // 10 else "train"

    def draw(self) -> Image.Image:
        """The picture, 112 x 112 RGB: one centred 20 x 20 square a filled cell, on white."""
        image = Image.new("RGB", (GRID * CELL, GRID * CELL), "white")
        pen = ImageDraw.Draw(image)
        for index, colour in enumerate(self.cells):
            if colour is not None:
                top, left = (CELL * place + MARGIN for place in divmod(index, GRID))
                side = CELL - 2 * MARGIN - 1  # a rectangle includes its last row and column
                pen.rectangle((left, top, left + side, top + side), fill=COLOURS[colour])
        return image


def generate(num_rows: int, seed: int, split: Split = "train") -> list[CountingRow]:
    """Draw `num_rows` questions with balanced counts and colours; the same arguments give the same rows.

    Rows of different splits never share a picture: a picture that belongs to the other split is drawn again.
    """
    rng = random.Random(seed)
    rows: list[CountingRow] = []
    while len(rows) < num_rows:
        row = _sample(rng)
        if row.split == split:
            rows.append(row)
    return rows


def _sample(rng: random.Random) -> CountingRow:
    colour = rng.choice(list(COLOURS))
    squares = [colour] * rng.randint(1, MAX_COUNT)
    for distractor in COLOURS:
        if distractor != colour:
            squares += [distractor] * rng.randint(1, MAX_DISTRACTORS)
    cells: list[str | None] = [*squares, *[None] * (GRID * GRID - len(squares))]
    rng.shuffle(cells)
    return CountingRow(colour, tuple(cells))


def demonstration(row: CountingRow, count: int | None = None) -> str:
    """The response to imitate, or with another `count` the same response with that count."""
    stated = row.count if count is None else count
    return f"<think>{row.colour} squares {stated}</think><answer>{stated}</answer>"


def write_dataset(path: Path, num_rows: int, seed: int, split: Split = "train") -> None:
    """Write the rows to `path`, a JSONL file, and their pictures as PNG files to the folder `images` beside it.

    Pictures carry the JSONL's name, so that both splits can share a folder.
    """
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(generate(num_rows, seed, split), start=1):
            name = f"{path.stem}-{number:06d}.png"
            row.draw().save(images / name)
            record = {"images": [f"images/{name}"], "problem": row.problem, "answer": str(row.count)}
            file.write(json.dumps(record) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write train.jsonl and test.jsonl to")
    parser.add_argument("--num_train", type=int, default=768, help="rows to train on")
    parser.add_argument("--num_test", type=int, default=200, help="held-out rows")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write_dataset(arguments.output / "train.jsonl", arguments.num_train, arguments.seed, "train")
    write_dataset(arguments.output / "test.jsonl", arguments.num_test, arguments.seed, "test")
    print(f"wrote {arguments.num_train} rows to train on and {arguments.num_test} held-out ones to {arguments.output}")


if __name__ == "__main__":
    main()

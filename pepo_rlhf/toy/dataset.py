"""A generated data set on disk, in the columns that training reads."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from pepo_rlhf.config.ranges import AT_LEAST_1, SEED, argument
from pepo_rlhf.data import Row, build_messages

Split = Literal["train", "test"]


class GeneratedRow(ABC):
    """A question with its picture and its label."""

    @property
    @abstractmethod
    def problem(self) -> str: ...

    @property
    @abstractmethod
    def label(self) -> str: ...

    @property
    @abstractmethod
    def picture(self) -> object:
        """Return what is in the picture; rows of which this is equal belong to the same split."""

    @abstractmethod
    def draw(self) -> Image.Image: ...

    @property
    def messages(self) -> list[dict]:
        """Return the conversation that asks the question, worded as in every run."""
        return build_messages(Row(self.problem, images=(), label=self.label, source="toy", datasource="toy"))

    @property
    def split(self) -> Split:
        """Return where the picture belongs: a tenth of all, picked by hash, is held out whatever seed drew them."""
        return "test" if hashlib.sha256(repr(self.picture).encode()).digest()[0] < 256 // 10 else "train"


AnyRow = TypeVar("AnyRow", bound=GeneratedRow)


def draw_rows(
    sample: Callable[[random.Random], AnyRow], num_rows: int, seed: int, split: Split = "train"
) -> list[AnyRow]:
    """Return `num_rows` rows of a split; the same arguments give the same rows.

    Rows of different splits never share a picture: a picture that belongs to the other split is drawn again.
    """
    rng = random.Random(seed)
    rows: list[AnyRow] = []
    while len(rows) < num_rows:
        row = sample(rng)
        if row.split == split:
            rows.append(row)
    return rows


def write_rows(path: Path, rows: Iterable[GeneratedRow], task: str | None = None) -> None:
    """Write the rows to `path`, a JSONL file, and their pictures as PNG files to the folder `images` beside it.

    Pictures carry the JSONL's name, so that splits can share a folder.
    """
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows, start=1):
            name = f"{path.stem}-{number:06d}.png"
            row.draw().save(images / name)
            record = {"images": [f"images/{name}"], "problem": row.problem, "answer": row.label}
            if task is not None:
                record["task"] = task
            file.write(json.dumps(record) + "\n")


def run_command(doc: str | None, generate: Callable[..., Iterable[GeneratedRow]], task: str | None = None) -> None:
    """Run the command line of a generator, which writes train.jsonl and test.jsonl."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write train.jsonl and test.jsonl to")
    parser.add_argument("--num_train", type=argument(int, AT_LEAST_1), default=768, help="rows to train on")
    parser.add_argument("--num_test", type=argument(int, AT_LEAST_1), default=200, help="held-out rows")
    parser.add_argument("--seed", type=argument(int, SEED), default=1)
    arguments = parser.parse_args()
    write_rows(arguments.output / "train.jsonl", generate(arguments.num_train, arguments.seed, "train"), task)
    write_rows(arguments.output / "test.jsonl", generate(arguments.num_test, arguments.seed, "test"), task)
    print(f"wrote {arguments.num_train} rows to train on and {arguments.num_test} held-out ones to {arguments.output}")

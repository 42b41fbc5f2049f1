"""Geometry3K as InterGPS publishes it: one folder a problem, with data.json and img_diagram.png in it."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pepo_rlhf.data.row import Record


def read_problem_folders(folder: Path, datasource: str) -> Iterator[Callable[[], Record]]:
    """Yield a function for each problem in `folder`, in the order of their numbers, which reads it as a record.

    The problem is `problem_text`, without its choices. `answer` is the letter of a choice; the label is the choice's
    text, as in the authors' data. A damaged data.json raises ValueError when it is read.
    """
    # Sorted by length first, so that problem 2 comes before problem 10.
    for path in sorted(folder.glob("*/data.json"), key=lambda path: (len(path.parent.name), path.parent.name)):
        yield partial(_read_problem, path, datasource)


def _read_problem(path: Path, datasource: str) -> Record:
    try:
        problem = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); unpack the archive again") from error
    match problem:
        case {"problem_text": str(prompt), "choices": [*choices], "answer": letter}:
            columns = {"problem": prompt, "images": ["img_diagram.png"], "answer": _chosen_text(choices, letter, path)}
            return Record(columns, path.parent, str(path.parent), datasource)
    raise ValueError(f"{path}: a problem has the text 'problem_text', the list 'choices' and 'answer', one of A to D")


def _chosen_text(choices: list[Any], letter: Any, path: Path) -> Any:
    texts = dict(zip("ABCD", choices, strict=False))
    if not isinstance(letter, str) or letter not in texts:
        raise ValueError(
            f"{path}: 'answer' is {reprlib.repr(letter)}, which is none of the choices {reprlib.repr(texts)}; correct "
            "one of them"
        )
    return texts[letter]

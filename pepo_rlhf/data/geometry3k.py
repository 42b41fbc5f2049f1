"""Geometry3K as InterGPS publishes it: one folder a problem, with data.json and img_diagram.png in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pepo_rlhf.data.row import Row


def read_problem_folders(folder: Path, datasource: str) -> Iterator[Row]:
    """Rows of the problems in `folder`, in the order of their numbers.

    The prompt is `problem_text`, without its choices. `answer` is the letter of a choice; the label is the choice's
    text, as in the authors' data. Raises ValueError for a damaged data.json.
    """
    # Sorted by length first, so that problem 2 comes before problem 10.
    for path in sorted(folder.glob("*/data.json"), key=lambda path: (len(path.parent.name), path.parent.name)):
        try:
            problem = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON ({error}); unpack the archive again") from error
        yield Row(
            prompt=problem.get("problem_text", ""),
            images=(str(path.with_name("img_diagram.png")),),
            label=_chosen_text(problem, path),
            source=str(path.parent),
            datasource=datasource,
        )


def _chosen_text(problem: Mapping[str, Any], path: Path) -> str:
    choices = dict(zip("ABCD", problem.get("choices", []), strict=False))
    letter = problem.get("answer")
    if letter not in choices:
        raise ValueError(f"{path}: 'answer' is {letter!r}, which is none of the choices {choices}; correct one of them")
    return str(choices[letter]).strip()

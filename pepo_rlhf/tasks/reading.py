"""Read the rows of a task from the data set as it was published."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from pepo_rlhf.data.bad_rows import BadRow
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Record, Row
from pepo_rlhf.data.row_checker import Problem
from pepo_rlhf.data.sources import image_folder, read_source
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.task import Task


def read_problems(
    task: Task, source: str | None, split: str, frame: Frame, shots: int | None = None, seed: int = 0
) -> Iterator[Problem]:
    """Return an iterator over the rows of a task's split; a record without one gives the ValueError that says why.

    A record whose column `task` names the task is read as pepo_rlhf.prepare writes it.

    Args:
        task: whose adapter makes rows of the records.
        source: file, folder or hub id; None for the task's own.
        split: of the source.
        frame: that boxes are asked for in.
        shots: number of rows of each label to draw (few-shot), by `seed`; None takes all.
        seed: of the draw.

    Raises:
        ValueError: if the source cannot be read, or none is known.
    """
    problems = (problem for read in _readers(task, source, split) for problem in _problems_of(task, read, frame))
    return problems if shots is None else _few_of_each_label(problems, shots, seed)


def image_root_of(task: Task, source: str | None) -> str:
    """Return the folder that image files must lie in unless another is named, which is the source's own."""
    return str(image_folder(source or task.hub_id or "."))


def _readers(task: Task, source: str | None, split: str) -> Iterator[Callable[[], Record]]:
    if source is None and task.generate is not None:
        return (lambda record=record: record for record in task.generate(split))  # type: ignore[misc]
    if source is None and task.hub_id is None:
        raise ValueError(f"{task.name} has no data set of its own; name a file, a folder or a hub id with --source")
    return read_source(source or str(task.hub_id).format(split=split), split, task.subset)


def _problems_of(task: Task, read: Callable[[], Record], frame: Frame) -> Iterator[Problem]:
    try:
        record = read()
    except ValueError as error:
        yield error
        return
    try:
        if record.fields.get("task") == task.name:
            yield row_from_record(*record)
        else:
            yield from task.make_rows(record, frame)
    except ValueError as error:
        # An adapter need not know the row: what it raises is completed here.
        kind = type(error) if isinstance(error, BadRow) else ValueError
        yield error if record.source in str(error) else kind(f"{record.source}: {error}")
    except (LookupError, TypeError, AttributeError) as error:
        yield ValueError(f"{record.source}: a column holds something else than the data set's: {error!r}")


def _few_of_each_label(problems: Iterator[Problem], shots: int, seed: int) -> Iterator[Problem]:
    """Yield errors as they come, then `shots` rows of each label, drawn by `seed`, in the order of the labels."""
    rows: dict[str, list[Row]] = {}
    for problem in problems:
        if isinstance(problem, Row):
            rows.setdefault(problem.label, []).append(problem)
        else:
            yield problem
    for label in sorted(rows):
        if len(rows[label]) < shots:
            yield ValueError(f"{label}: {len(rows[label])} rows, fewer than {shots} shots; ask for fewer")
        else:
            yield from random.Random(f"{seed}:{label}").sample(rows[label], shots)

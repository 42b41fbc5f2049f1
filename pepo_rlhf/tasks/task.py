"""A task: a data set's schema, the prompt, and the verifier, under one name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.sources import Record, image_folder, read_source
from pepo_rlhf.rewards.structured_label import LabelError
from pepo_rlhf.tasks.frame import Frame


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set of a family.

    name: for the command line and the reports
    make_rows: the problems of one record, in the data set's own columns. Raises LabelError for an answer that cannot
        be graded, OutsideProtocol for a record that the benchmark leaves out, ValueError for other columns
    verifiers: names for --reward.functions; the first gives the score of an evaluation
    hub_id: default source; {split} stands for the split. None for data that is generated or has no home on the hub
    split: default split for evaluation
    subset: configuration of the hub data set
    generate: records of a split, where a library or a formula provides them and no source is named
    untagged: of a response without answer tags the box at its end counts in an evaluation, or all of it, as the
        published protocol has it
    """

    name: str
    make_rows: Callable[[Record, Frame], list[Row]]
    verifiers: tuple[str, ...]
    hub_id: str | None = None
    split: str = "test"
    subset: str | None = None
    generate: Callable[[str], Iterator[Record]] | None = None
    untagged: bool = False


class OutsideProtocol(ValueError):
    """A record that the benchmark's published protocol leaves out."""


class DamagedImage(ValueError):
    """An image that a record's box cannot be placed in."""


# A row of a task, or what is wrong with the record.
Problem = Row | ValueError


def read_problems(
    task: Task, source: str | None, split: str, frame: Frame, shots: int | None = None, seed: int = 0
) -> Iterator[Problem]:
    """Every row of a task's split, and for each record without one the error that says why.

    A record that names the task, as pepo_rlhf.prepare writes them, is taken as it is.

    Args:
        source: file, folder or hub id; None for the task's own.
        frame: of boxes.
        shots: rows of each label to draw (few-shot), by `seed`; None takes all.

    Raises:
        ValueError: if the source cannot be read, or none is known.
    """
    problems = (problem for read in _readers(task, source, split) for problem in _problems_of(task, read, frame))
    return problems if shots is None else _few_of_each_label(problems, shots, seed)


def image_root_of(task: Task, source: str | None) -> str:
    """Folder that image files must lie in unless another is named: the source's own."""
    return str(image_folder(source or task.hub_id or "."))


def _readers(task: Task, source: str | None, split: str) -> Iterator[Callable[[], Record | Row]]:
    if source is None and task.generate is not None:
        return (partial(_itself, record) for record in task.generate(split))
    if source is None and task.hub_id is None:
        raise ValueError(f"{task.name} has no data set of its own; name a file, a folder or a hub id with --source")
    return read_source(source or str(task.hub_id).format(split=split), split, Record, task.subset)


def _itself(record: Record) -> Record:
    return record


def _problems_of(task: Task, read: Callable[[], Record | Row], frame: Frame) -> Iterator[Problem]:
    try:
        record = read()
    except ValueError as error:
        yield error
        return
    try:
        if isinstance(record, Row):
            yield record
        elif record.fields.get("task") == task.name:
            yield row_from_record(*record)
        else:
            yield from task.make_rows(record, frame)
    except (LabelError, OutsideProtocol, DamagedImage) as error:
        # These are found where the row is not known.
        yield type(error)(f"{record.source}: {error}")
    except ValueError as error:
        yield error if record.source in str(error) else ValueError(f"{record.source}: {error}")
    except (LookupError, TypeError, AttributeError) as error:
        yield ValueError(f"{record.source}: a column holds something else than the data set's: {error!r}")


def _few_of_each_label(problems: Iterator[Problem], shots: int, seed: int) -> Iterator[Problem]:
    """Errors as they come, then `shots` rows of each label, drawn by `seed`, in the order of the labels."""
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

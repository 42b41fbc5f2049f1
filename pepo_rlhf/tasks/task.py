"""A task: a data set's schema, its prompt and its verifiers, under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pepo_rlhf.data.row import Record, Row
from pepo_rlhf.tasks.frame import Frame


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set of a family.

    name: for the command line and reports
    make_rows: returns the rows of one record, which has the data set's own columns; a box is asked for in the frame.
        It raises LabelError for an answer that cannot be graded, OutsideProtocol for a record that the benchmark leaves
        out, BadImage for an image that a box cannot be placed in, and ValueError for other columns
    verifiers: names of rewards, those of the family's VERIFIERS or built-in ones; with `format` they are the default of
        --reward.functions
    display_metric: the verifier that an evaluation's score and a run's progress show; None is the first verifier
    hub_id: default source, in which {split} stands for the split; None for data that has no home on the hub
    split: default split of an evaluation
    subset: configuration of the hub data set
    generate: yields the records of a split where no source is named
    untagged: whether an evaluation grades a response without answer tags by the box at its end, or by all of it, as the
        published protocol does
    vote: returns the form of an answer that a majority is counted by, from the answer, the label and whether it was
        graded as right; None is `mathematical_vote`
    """

    name: str
    make_rows: Callable[[Record, Frame], list[Row]]
    verifiers: tuple[str, ...]
    display_metric: str | None = None
    hub_id: str | None = None
    split: str = "test"
    subset: str | None = None
    generate: Callable[[str], Iterator[Record]] | None = None
    untagged: bool = False
    vote: Callable[[str, str, bool], str | None] | None = None

    @property
    def score(self) -> str:
        """Return the name of the verifier that the task is judged by."""
        return self.display_metric or self.verifiers[0]

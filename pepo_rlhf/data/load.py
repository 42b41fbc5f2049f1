"""Load a data set and check every row before anything is trained on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from pepo_rlhf.data.prompt_measure import Length, PromptMeasure
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.row_checker import Problem, RowChecker
from pepo_rlhf.data.sources import image_folder, read_source

logger = logging.getLogger(__name__)
_NUM_REASONS = 3


@dataclass(frozen=True)
class LoadedRows:
    """The rows that can be trained on, and the number of those that cannot.

    lengths: of their prompts in tokens, where they have been measured
    """

    rows: list[Row]
    num_skipped: int
    lengths: list[Length] = field(default_factory=list)


def read_rows(name: str, split: str) -> Iterator[Problem]:
    """Yield each row of a source in the columns that training reads, or the ValueError that says what is wrong."""
    for read in read_source(name, split):
        try:
            yield row_from_record(*read())
        except ValueError as error:
            yield error


def load_rows(
    path_or_id: str,
    split: str = "train",
    max_samples: int | None = None,
    *,
    read: Callable[[str, str], Iterable[Problem]] = read_rows,
    measure: PromptMeasure | None = None,
    max_images: int | None = None,
    reserved_tokens: Collection[str] = (),
    fetch_urls: bool = False,
    image_root: str | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
) -> LoadedRows:
    """Return the rows of one source, or of several separated by commas, one after the other; `max_samples` of each.

    A run calls this once for each data set, and every row that it trains on comes from here. Images are decoded in full
    to check them, and are kept as paths or encoded bytes, since the pixels of a whole data set would not fit into
    memory: a rollout worker decodes the images of a prompt again whenever it asks that prompt.

    Args:
        path_or_id: for `read_source`.
        split: of the source.
        max_samples: the largest number of good rows to take of each source; None takes all.
        read: yields the rows of a source and a split; a task's adapter, for example.
        measure: counts the tokens of each prompt, and refuses one that leaves no room for a response.
        max_images, reserved_tokens, fetch_urls: see RowChecker.
        image_root: folder that image files must lie in; None is the source's own.
        on_bad_row: "error" raises at the first row that cannot be trained on; "skip" leaves it out, counts it, and
            warns of the first reasons.

    Raises:
        ValueError: for a bad row, as `on_bad_row` has it, and always for a source that cannot be read or that has no
            good row. The message names file and row.
    """
    rows: list[Row] = []
    lengths: list[Length] = []
    reasons: list[str] = []
    for name in (part.strip() for part in path_or_id.split(",")):
        if not name:
            raise ValueError(f"the data set {path_or_id!r} has an empty name in it; name a path or a hub id")
        checker = RowChecker(
            image_root=image_root or str(image_folder(name)),
            max_images=max_images,
            reserved_tokens=reserved_tokens,
            fetch_urls=fetch_urls,
        )
        skipped: list[str] = []
        good = _good_rows(read(name, split), checker, measure, skipped if on_bad_row == "skip" else None)
        loaded = list(islice(good, max_samples))
        if not loaded:
            raise ValueError(f"{name}: {_why_empty(skipped)}")
        rows += [row for row, _ in loaded]
        lengths += [length for _, length in loaded if length is not None]
        reasons += skipped
    if reasons:
        logger.warning("%s: %d rows are skipped: %s", path_or_id, len(reasons), _first_of(reasons))
    return LoadedRows(rows, len(reasons), lengths)


def _good_rows(
    problems: Iterable[Problem], checker: RowChecker, measure: PromptMeasure | None, skipped: list[str] | None
) -> Iterator[tuple[Row, Length | None]]:
    """Yield rows that pass, with their lengths. Append any other's reason to `skipped`, or raise it if that is None."""
    for problem in problems:
        try:
            row, pictures = checker.check(problem)
            length = measure.require_fit(row, pictures) if measure else None
        except ValueError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
        else:
            yield row, length


def _why_empty(skipped: list[str]) -> str:
    if not skipped:
        return "no rows in it; name a source that has some"
    return f"none of its {len(skipped)} rows can be trained on: {_first_of(skipped)}"


def _first_of(reasons: list[str]) -> str:
    return " | ".join(reasons[:_NUM_REASONS]) + (" | ..." if len(reasons) > _NUM_REASONS else "")

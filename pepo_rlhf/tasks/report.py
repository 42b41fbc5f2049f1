"""What is in a data set and what is wrong with it, counted row by row while it is prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from pepo_rlhf.data.bad_rows import REASONS, BadRow
from pepo_rlhf.data.labels import read_label
from pepo_rlhf.data.prompt_measure import PromptMeasure
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.row_checker import Problem, RowChecker
from pepo_rlhf.data.vision_tokens import reserved_tokens
from pepo_rlhf.rewards.accuracy import is_mathematics

_NUM_SAMPLES = 6


@dataclass
class SplitReport:
    """Counts of one split; lengths are in tokens, and are known with a processor only."""

    split: str
    num_records: int = 0
    num_rows: int = 0
    samples: list[Row] = field(default_factory=list)  # the first rows
    dropped: dict[str, list[str]] = field(default_factory=lambda: {reason: [] for reason in REASONS})
    only_text: list[str] = field(default_factory=list)  # labels with digits that do not parse as mathematics
    visual_tokens: list[int] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # images and question of each row, hashed

    @property
    def problems(self) -> dict[str, list[str]]:
        """Return what is wrong with rows, by its kind: those that are dropped, and those compared as text only."""
        return {**self.dropped, "answers compared as text only (kept)": self.only_text}

    def table(self, limit: int | None) -> list[tuple[str, str]]:
        """Return what is counted, and how many there are; limit: tokens that fit, None without a model."""
        return [
            ("records", str(self.num_records)),
            ("rows", str(self.num_rows)),
            *((reason, str(len(problems))) for reason, problems in self.problems.items()),
            ("visual tokens of a prompt: min / median / 95% / max", _spread(self.visual_tokens)),
            ("tokens of a prompt: min / median / 95% / max", _spread(self.prompt_tokens)),
            *([("tokens that fit", str(limit))] if limit is not None else []),
        ]


def _spread(values: list[int]) -> str:
    if not values:
        return "not measured: give --model"
    return " / ".join(map(str, np.percentile(values, [0, 50, 95, 100], method="nearest")))


def examine(
    split: str,
    problems: Iterable[Problem],
    measure: PromptMeasure | None,
    image_root: str,
    keep: Callable[[Row], None],
) -> SplitReport:
    """Return the report of a split; its rows that can be trained on go to `keep`.

    Args:
        split: name of the split in the report.
        problems: rows, and what is wrong with records that are none.
        measure: counts the tokens of prompts; None leaves them out.
        image_root: folder that image files must lie in.
        keep: called with each good row.
    """
    report = SplitReport(split)
    checker = RowChecker(image_root=image_root, reserved_tokens=reserved_tokens(measure.processor) if measure else ())
    for problem in problems:
        report.num_records += 1
        try:
            row, pictures = checker.check(problem)
            if measure is not None:
                length = measure.require_fit(row, pictures)
                report.prompt_tokens.append(length.total)
                report.visual_tokens.append(length.visual)
        except ValueError as error:
            report.dropped[error.reason if isinstance(error, BadRow) else BadRow.reason].append(str(error))
            continue
        report.num_rows += 1
        report.keys.append(_key(row, pictures))
        report.samples = [*report.samples, row][:_NUM_SAMPLES]
        if not read_label(row.label) and any(char.isdigit() for char in row.label) and not is_mathematics(row.label):
            report.only_text.append(f"{row.source}: {row.label}")
        keep(row)
    return report


def _key(row: Row, pictures: list) -> str:
    """Return a hash of what is seen and asked: of the pixels, not of the file that they came in."""
    digest = hashlib.sha256(row.prompt.encode())
    for picture in pictures:
        digest.update(repr(picture.size).encode() + picture.tobytes())
    return digest.hexdigest()


def duplicates(reports: list[SplitReport]) -> dict[str, int]:
    """Return how many rows repeat images and question within a split, and how many repeat those of an earlier split."""
    counts: dict[str, int] = {}
    for number, report in enumerate(reports):
        counts[report.split] = len(report.keys) - len(set(report.keys))
        for earlier in reports[:number]:
            shared = set(earlier.keys)
            counts[f"{earlier.split} and {report.split}"] = sum(key in shared for key in report.keys)
    return counts


def as_text(task: str, reports: list[SplitReport], limit: int | None, num_examples: int = 3) -> str:
    """Return the whole report for a terminal, with the first examples of what is wrong."""
    lines: list[str] = []
    for report in reports:
        lines += [f"{task}, {report.split}", *(f"  {name:<55}{value}" for name, value in report.table(limit))]
        for reason, problems in report.problems.items():
            lines += [f"  {reason}: {' '.join(problem.split())}" for problem in problems[:num_examples]]
    lines.append("duplicates, by pixels and question")
    lines += [f"  {name:<55}{count}" for name, count in duplicates(reports).items()]
    return "\n".join(lines)

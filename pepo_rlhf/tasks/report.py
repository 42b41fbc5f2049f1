"""What is in a data set and what is wrong with it, counted row by row while it is prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.load import check_texts, load_image, place_images
from pepo_rlhf.data.prompt import count_tokens
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.vision_tokens import reserved_tokens
from pepo_rlhf.rewards.accuracy import is_mathematics
from pepo_rlhf.rewards.structured_label import LabelError, read_label
from pepo_rlhf.tasks.measure import PromptMeasure
from pepo_rlhf.tasks.task import DamagedImage, OutsideProtocol, Problem

_NUM_SAMPLES = 6


class Reason(StrEnum):
    """What keeps a row out, in the order in which it is looked for."""

    PROTOCOL = "left out by the benchmark's protocol"
    SCHEMA = "records of another schema"
    ANSWER = "unparsable answers"
    TEXT = "texts that are missing or cannot be encoded"
    IMAGE = "images that do not decode"
    PLACEHOLDERS = "placeholder mismatches"
    LENGTH = "prompts that do not fit"


@dataclass
class SplitReport:
    """Counts of one split; lengths are in tokens and known with a processor only."""

    split: str
    num_records: int = 0
    num_rows: int = 0
    samples: list[Row] = field(default_factory=list)  # the first rows
    dropped: dict[str, list[str]] = field(default_factory=lambda: {reason: [] for reason in Reason})
    only_text: list[str] = field(default_factory=list)  # labels that look like mathematics and do not parse as such
    visual_tokens: list[int] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # images and question of each row, hashed


def examine(
    split: str,
    problems: Iterable[Problem],
    measure: PromptMeasure | None,
    image_root: str,
    keep: Callable[[Row], None],
) -> SplitReport:
    """Sorts the problems of a split into rows to train on, which go to `keep`, and what is wrong with the others.

    Image files must lie in `image_root`.
    """
    report = SplitReport(split)
    for problem in problems:
        report.num_records += 1
        if isinstance(problem, Row):
            row = _examine_row(report, problem, measure, image_root)
            if row is not None:
                keep(row)
                report.num_rows += 1
                report.samples = [*report.samples, row][:_NUM_SAMPLES]
        else:
            report.dropped[_reason(problem)].append(str(problem))
    return report


def _reason(error: ValueError) -> str:
    kinds = {OutsideProtocol: Reason.PROTOCOL, LabelError: Reason.ANSWER, DamagedImage: Reason.IMAGE}
    return kinds.get(type(error), Reason.SCHEMA)


def _examine_row(report: SplitReport, row: Row, measure: PromptMeasure | None, image_root: str) -> Row | None:
    """The row with its placeholders, or None where the report says why not."""
    checks: dict[str, Callable[[Row], Row | None]] = {
        Reason.ANSWER: _require_label,
        Reason.TEXT: lambda row: check_texts(row, reserved_tokens(measure.processor) if measure else ()),
        Reason.IMAGE: lambda row: replace(
            row, images=tuple(load_image(image, row, fetch_urls=False, image_root=image_root) for image in row.images)
        ),
        Reason.PLACEHOLDERS: place_images,
    }
    for reason, check in checks.items():
        try:
            row = check(row) or row
        except ValueError as error:
            report.dropped[reason].append(str(error))
            return None
    images = [decode_image(image) for image in row.images]
    if measure is not None:
        num_tokens, num_visual = count_tokens(measure.processor, row, images, measure.pixels)
        if num_tokens > measure.max_tokens:
            report.dropped[Reason.LENGTH].append(
                f"{row.source}: {num_tokens} tokens, {num_visual} of them visual, where {measure.max_tokens} fit"
            )
            return None
        report.prompt_tokens.append(num_tokens)
        report.visual_tokens.append(num_visual)
    if not read_label(row.label) and any(char.isdigit() for char in row.label) and not is_mathematics(row.label):
        report.only_text.append(f"{row.source}: {row.label}")
    report.keys.append(_key(row, images))
    return row


def _require_label(row: Row) -> None:
    if not row.label.strip():
        raise ValueError(f"{row.source}: no answer; fill it, or drop the row")


def _key(row: Row, images: list) -> str:
    """Hash of what is seen and asked: the pixels, not the file they came in."""
    digest = hashlib.sha256(row.prompt.encode())
    for image in images:
        digest.update(repr(image.size).encode() + image.tobytes())
    return digest.hexdigest()


def duplicates(reports: list[SplitReport]) -> dict[str, int]:
    """Rows whose images and question stood before in their split, and those that stand in an earlier split."""
    counts: dict[str, int] = {}
    for number, report in enumerate(reports):
        counts[report.split] = len(report.keys) - len(set(report.keys))
        for earlier in reports[:number]:
            shared = set(earlier.keys)
            counts[f"{earlier.split} and {report.split}"] = sum(key in shared for key in report.keys)
    return counts


def spread(values: list[int]) -> str:
    """Smallest, median, 95th percentile and largest value."""
    if not values:
        return "not measured: give --model"
    low, median, high, largest = np.percentile(values, [0, 50, 95, 100], method="nearest")
    return f"{low} / {median} / {high} / {largest}"


def table(report: SplitReport, limit: int | None) -> list[tuple[str, str]]:
    """The report of a split, a line each: what, and how many."""
    lines = [("records", str(report.num_records)), ("rows", str(report.num_rows))]
    lines += [(reason, str(len(problems))) for reason, problems in report.dropped.items()]
    lines.append(("answers compared as text only (kept)", str(len(report.only_text))))
    lines.append(("visual tokens of a prompt: min / median / 95% / max", spread(report.visual_tokens)))
    lines.append(("tokens of a prompt: min / median / 95% / max", spread(report.prompt_tokens)))
    if limit is not None:
        lines.append(("tokens that fit", str(limit)))
    return lines


def as_text(task: str, reports: list[SplitReport], limit: int | None, num_examples: int = 3) -> str:
    """The whole report for a terminal, with the first examples of what is wrong."""
    lines: list[str] = []
    for report in reports:
        lines += [f"{task}, {report.split}", *(f"  {name:<55}{value}" for name, value in table(report, limit))]
        for reason, problems in [*report.dropped.items(), ("answers compared as text only", report.only_text)]:
            lines += [f"  {reason}: {' '.join(problem.split())}" for problem in problems[:num_examples]]
    lines.append("duplicates, by pixels and question")
    lines += [f"  {name:<55}{count}" for name, count in duplicates(reports).items()]
    return "\n".join(lines)

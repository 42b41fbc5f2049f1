"""Read a run's token records for the report: prompts, the responses to each, and numbers token by token."""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pepo_rlhf.metrics.token_records import StepRecords, read_steps
from pepo_rlhf.report.rounding import rounded, rounded_list
from pepo_rlhf.report.summary import verifier_of

# Drawn as heat maps.
QUANTITIES = ("similarity", "entropy", "weight", "advantage", "log_prob", "image_dependence", "image_sensitivity")
_SCORES = (*QUANTITIES, "advantage_before")
_MAX_PIXELS, _MAX_BYTES = 512, 64 * 1024
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>]*\|>")


@dataclass
class TokenPages:
    """Hold all that the report shows of the records.

    Attributes:
        batch_sizes: responses of each recorded step, of which the records may hold a part.
        groups: the prompts: what the table lists, filters and sorts by, and the text and reward of each response, and
            whether it is right: whether the component that the run is judged by is at least 1.
        details: for each prompt its responses: numbers of every token, tokens as places in `vocabulary`.
        vocabulary: (id, text) of every token that occurs; a text may be part of a character, so an id can have several.
        images: data URIs; None for a file that is gone.
        ranges: 2nd and 98th percentile over the run of each quantity.
    """

    batch_sizes: dict[int, int] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    details: list[list[dict[str, Any]]] = field(default_factory=list)
    vocabulary: list[tuple[int, str]] = field(default_factory=list)
    images: list[str | None] = field(default_factory=list)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def num_responses(self) -> int:
        return sum(len(detail) for detail in self.details)


def read_tokens(run_dir: Path) -> TokenPages:
    """Return the records of all steps; empty pages if the run has none.

    Raises:
        ValueError: if they have another version of the schema.
    """
    return _Reader(run_dir).read() if any((run_dir / "tokens").glob("step_*.parquet")) else TokenPages()


class _Reader:
    """Read the records of a run, numbering tokens and images as they first occur."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir, self.verifier = run_dir, verifier_of(run_dir)
        self.pages = TokenPages()
        self.token_places: dict[tuple[int, str], int] = {}
        self.image_places: dict[str, int] = {}
        self.values: dict[str, list[np.ndarray]] = {name: [] for name in QUANTITIES}

    def read(self) -> TokenPages:
        for records in read_steps(self.run_dir):
            self._add_step(records)
        pages = self.pages
        for group, excerpt in zip(pages.groups, excerpts([group["prompt"] for group in pages.groups]), strict=True):
            group["excerpt"] = excerpt
        pages.vocabulary = list(self.token_places)
        pages.images = [data_uri(self.run_dir / "tokens" / "images" / name) for name in self.image_places]
        pages.ranges = {name: percentiles(np.concatenate(values), (2, 98)) for name, values in self.values.items()}
        return pages

    def _add_step(self, records: StepRecords) -> None:
        self.pages.batch_sizes[records.step] = records.batch_size
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in records.table.to_pylist():
            groups.setdefault(row["group"], []).append(row)
        for rows in groups.values():
            rows.sort(key=lambda row: row["sample"])
            self.pages.groups.append(self._group(rows))
            self.pages.details.append([self._response(row) for row in rows])

    def _group(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        first = rows[0]
        low, high = percentiles(np.concatenate([np.asarray(row["weight"], float) for row in rows]), (20, 80))
        return {
            "step": first["step"],
            "task": first["task"],
            "prompt": first["prompt"],
            "label": first["label"],
            "progress": rounded(first["progress"]),
            "has_image": first["has_image"],
            "images": [self.image_places.setdefault(name, len(self.image_places)) for name in first["images"]],
            "weight_spread": rounded(high - low),
            "responses": [
                {
                    "text": row["response"],
                    "reward": rounded(row["reward"]),
                    "right": dict(row["reward_parts"]).get(self.verifier, row["reward"]) >= 1,
                    "length": len(row["token_ids"]),
                }
                for row in rows
            ],
        }

    def _response(self, row: dict[str, Any]) -> dict[str, Any]:
        # A signal that the run's weighting did not need was not computed.
        scores = {name: [math.nan] * len(row["token_ids"]) if row[name] is None else row[name] for name in _SCORES}
        for name, values in self.values.items():
            values.append(np.asarray(scores[name], float))
        tokens = zip(row["token_ids"], row["token_texts"], strict=True)
        rollout = row["rollout_log_prob"]
        return {
            "sample": row["sample"],
            "parts": {name: rounded(value) for name, value in row["reward_parts"]},
            "truncated": row["truncated"],
            "tokens": [self.token_places.setdefault(token, len(self.token_places)) for token in tokens],
            "rollout_log_prob": None if rollout is None else rounded_list(rollout),
            **{name: rounded_list(values) for name, values in scores.items()},
        }


def percentiles(values: np.ndarray, ranks: tuple[float, float]) -> tuple[float, float]:
    """Return the percentiles of two ranks of the finite values, to four digits; zeros if there are none."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, ranks) if len(finite) else (0.0, 0.0)
    return float(f"{low:.4g}"), float(f"{high:.4g}")


def excerpts(prompts: Iterable[str]) -> list[str]:
    """Return each prompt without the template's special tokens and the lines that all prompts begin or end with."""
    texts = (_SPECIAL_TOKEN.sub("\n", prompt) for prompt in prompts)
    lines = [[line.strip() for line in text.splitlines() if line.strip()] for text in texts]
    distinct = [list(one) for one in {tuple(one) for one in lines}]
    start = end = 0
    if len(distinct) > 1:
        start = len(os.path.commonprefix(distinct))  # of lists it is a list
        end = len(os.path.commonprefix([one[start:][::-1] for one in distinct]))
    return [" ".join(one[start : len(one) - end] or one) for one in lines]


def data_uri(path: Path) -> str | None:
    """The image, a PNG, for embedding, within 512 pixels; None if the file is gone.

    Small files go in as they are, all others as WebP: photographs take a tenth of their PNG.
    """
    if not path.exists():
        return None
    with Image.open(path) as image:
        if max(image.size) <= _MAX_PIXELS and path.stat().st_size <= _MAX_BYTES:
            return _encode(path.read_bytes(), "png")
        image.thumbnail((_MAX_PIXELS, _MAX_PIXELS), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=85)
    return _encode(buffer.getvalue(), "webp")


def _encode(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

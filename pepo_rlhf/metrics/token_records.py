"""Token records: the scores, weight and advantage of every token of a recorded step, as parquet files.

RUN_DIR/tokens/step_000012.parquet has one row a response, RUN_DIR/tokens/images/ each image once, under the first 16
hexadecimal digits of the SHA-256 of its encoded bytes. docs/token_records.md documents the columns.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pepo_rlhf.config import Config
from pepo_rlhf.core import signals
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.data.images import decode_image

SCHEMA_VERSION = "3"
_SCORES = ("log_prob", "weight", "advantage_before", "advantage")
# Columns of the signals; null where one was not computed, as the run's weighting does not need it.
SIGNAL_COLUMNS = {name: "similarity" if name == "visual_similarity" else name for name in signals.BUILT_IN}
# Version 1 had the settings of all weightings in one mapping with these others.
_OTHER_SETTINGS = ("method", "schedule", "similarity", "no_image", "num_samples", "overlong_filtering")
SCHEMA = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("sample", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("images", pa.list_(pa.string()), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("token_texts", pa.list_(pa.string()), nullable=False),
        *(pa.field(name, pa.list_(pa.float32()), nullable=False) for name in _SCORES),
        *(pa.field(name, pa.list_(pa.float32())) for name in SIGNAL_COLUMNS.values()),
        pa.field("rollout_log_prob", pa.list_(pa.float32())),
        pa.field("reward", pa.float64(), nullable=False),
        pa.field("reward_parts", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("has_image", pa.bool_(), nullable=False),
        pa.field("progress", pa.float64(), nullable=False),
    ]
)


class StepRecords(NamedTuple):
    """One recorded step."""

    step: int
    settings: dict[str, Any]  # what the weights were computed with, as `weight_settings` gives it
    batch_size: int  # responses of the whole batch; the table has fewer where --logger.tokens_max_rows cut it
    table: pa.Table  # in SCHEMA


def weight_settings(config: Config) -> dict[str, Any]:
    """Return what a run's token weights are computed with: the method, all of its settings, and what else decides."""
    pepo = config.pepo
    return {
        "method": pepo.method,
        "settings": asdict(load_weighting(pepo.method, pepo.settings).settings),
        "schedule": pepo.schedule,
        "similarity": pepo.similarity,
        "no_image": pepo.no_image,
        "perturbation": pepo.perturbation,
        "num_samples": config.rollout.n_samples_per_prompt,
        "overlong_filtering": config.algo.overlong_filtering_enable,
    }


def write_step(
    run_dir: Path, step: int, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], batch_size: int
) -> Path:
    """Write the rows of one step, dicts in SCHEMA whose lists may be NumPy arrays, and return the file.

    The file appears under its name when it is complete, in the place of an earlier one of the same step.
    """
    metadata = {"schema_version": SCHEMA_VERSION, "settings": json.dumps(dict(settings)), "batch_size": str(batch_size)}
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA.with_metadata(metadata))
    path = _folder(run_dir) / f"step_{step:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished, compression="zstd")
    os.replace(unfinished, path)
    return path


def store_image(run_dir: Path, image: str | bytes) -> str:
    """Store an image (path or encoded bytes) as RGB in PNG, once, and return its file name in tokens/images.

    Raises:
        ValueError: if the image cannot be decoded.
    """
    data = Path(image).read_bytes() if isinstance(image, str) else image
    name = f"{hashlib.sha256(data).hexdigest()[:16]}.png"
    path = _folder(run_dir) / "images" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        decode_image(data).save(unfinished, "PNG")
        os.replace(unfinished, path)
    return name


def read_steps(run_dir: Path) -> Iterator[StepRecords]:
    """Yield the recorded steps of a run in order, read one at a time; those of earlier versions in the form of today.

    Raises:
        ValueError: if there are none, or if a file has an unknown version of the schema.
    """
    paths = sorted(_folder(run_dir).glob("step_*.parquet"))
    if not paths:
        raise ValueError(f"{run_dir} holds no token records; record some in training with --logger.tokens_every 10")
    for path in paths:
        table = pq.read_table(path)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        version = metadata.get("schema_version")
        if version not in ("1", "2", SCHEMA_VERSION):
            raise ValueError(
                f"{path} has version {version} of the token records, and this package reads 1 to {SCHEMA_VERSION}: "
                "use the version of the package that wrote them"
            )
        for column in SIGNAL_COLUMNS.values():  # versions 1 and 2 had two signals
            if column not in table.column_names:
                table = table.append_column(SCHEMA.field(column), pa.nulls(len(table), SCHEMA.field(column).type))
        settings = json.loads(metadata["settings"])
        if version == "1":
            others = {name: settings.pop(name) for name in _OTHER_SETTINGS if name in settings}
            settings = {**others, "settings": settings}
        step = int(path.stem.removeprefix("step_"))
        yield StepRecords(step, settings, int(metadata["batch_size"]), table)


def _folder(run_dir: Path) -> Path:
    return run_dir / "tokens"

"""Graded generations of one benchmark on disk: a parquet file a batch of prompts, so that a run can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

SCHEMA = pa.schema(
    [
        ("number", pa.int32()),  # of the prompt, from 0
        ("sample", pa.int16()),  # 0 to k - 1
        ("source", pa.string()),
        ("prompt", pa.string()),
        ("label", pa.string()),
        ("response", pa.string()),
        ("prediction", pa.string()),
        ("score", pa.float64()),
        ("components", pa.map_(pa.string(), pa.float64())),
        ("error", pa.string()),  # of the grader
        ("num_tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("seed", pa.int64()),
    ]
)


class GenerationStore:
    """Folder of one benchmark.

    Args:
        folder: made if it is not there.
        settings: everything that the generations depend on.

    Raises:
        ValueError: if the folder holds generations of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        described = json.dumps(settings, indent=1, sort_keys=True)
        file = folder / "settings.json"
        if not file.exists():
            file.write_text(described, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != described:
            raise ValueError(f"{folder} holds generations of other settings ({file}); choose another --output")

    def read(self) -> list[dict[str, Any]]:
        """Return all generations, ordered by prompt and sample."""
        rows = [row for file in self._folder.glob("*.parquet") for row in parquet.read_table(file).to_pylist()]
        return sorted(rows, key=lambda row: (row["number"], row["sample"]))

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Add the generations of some prompts; their file is written whole or not at all."""
        file = self._folder / f"prompt-{rows[0]['number']:06d}.parquet"
        part = file.with_suffix(".part")
        parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), part)
        part.replace(file)

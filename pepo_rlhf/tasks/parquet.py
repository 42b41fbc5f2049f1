"""Write rows as a parquet file to train on, images embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from pepo_rlhf.data.row import Row

_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("messages", pa.list_(_MESSAGE)),
        ("images", pa.list_(_IMAGE)),
        ("solution", pa.string()),
        ("task", pa.string()),
    ]
)
_GROUP_ROWS = 64


class ParquetRows:
    """Writes rows to `path`, which appears once the `with` block has ended without an error.

    task: goes into the column `task`, by which the task reads the file again as it is
    """

    def __init__(self, path: Path, task: str) -> None:
        self._path, self._task = path, task
        self._part = path.with_suffix(".part")
        self._pending: list[dict[str, Any]] = []

    def __enter__(self) -> ParquetRows:
        self._writer = ParquetWriter(self._part, SCHEMA)
        return self

    def __exit__(self, error_type: Any, *_: Any) -> None:
        if error_type is None:
            self._flush()
        self._writer.close()
        if error_type is None:
            self._part.replace(self._path)
        else:
            self._part.unlink()

    def append(self, row: Row) -> None:
        messages = [{"role": "system", "content": row.system}] if row.system else []
        self._pending.append(
            {
                "messages": [*messages, {"role": "user", "content": row.prompt}],
                "images": [{"bytes": _read(image), "path": None} for image in row.images],
                "solution": row.label,
                "task": self._task,
            }
        )
        if len(self._pending) == _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._pending, SCHEMA))
        self._pending = []


def _read(image: str | bytes) -> bytes:
    return Path(image).read_bytes() if isinstance(image, str) else image

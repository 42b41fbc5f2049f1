"""Where rows come from: files, folders and the Hugging Face hub. The layout on disk decides how they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pepo_rlhf.data.geometry3k import read_problem_folders
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_BATCH_ROWS = 64


def read_source(name: str, split: str) -> Iterator[Row]:
    """Rows of one source, read as they are asked for and not checked yet.

    A file is a .jsonl or .parquet file, which holds one split. A folder holds problems.jsonl, <split>.jsonl, parquet
    files as the hub lays them out, or InterGPS problem folders. Anything else that looks like owner/name is the id of
    a data set on the hub. Raises ValueError naming what was looked for.
    """
    path = Path(name).absolute()
    if path.is_file():
        return _read_file(path, f"{path.parent.name}/{path.stem}")
    if path.is_dir():
        return _read_folder(path, split)
    if _HUB_ID.fullmatch(name):
        return _read_hub(name, split)
    raise ValueError(f"{name}: no such file or folder, and not the owner/name of a data set on the hub")


def _read_folder(folder: Path, split: str) -> Iterator[Row]:
    for file in (folder / "problems.jsonl", folder / f"{split}.jsonl"):
        if file.is_file():
            return _read_file(file, folder.name)
    patterns = [f"{split}.parquet", f"{split}-*.parquet", f"data/{split}-*.parquet"]
    if files := [file for pattern in patterns for file in sorted(folder.glob(pattern))]:
        return chain.from_iterable(_read_file(file, folder.name) for file in files)
    for problems in (folder / split, folder):
        if any(problems.glob("*/data.json")):
            return read_problem_folders(problems, folder.name)
    layouts = ["problems.jsonl", f"{split}.jsonl", *patterns, f"{split}/*/data.json", "*/data.json"]
    raise ValueError(f"{folder}: no data of the split {split!r}; looked for {', '.join(layouts)}")


def _read_file(file: Path, datasource: str) -> Iterator[Row]:
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if file.suffix not in readers:
        raise ValueError(f"{file}: not a data file; convert it to {' or '.join(readers)}")
    for number, record in readers[file.suffix](file):
        yield row_from_record(record, file.parent, f"{file}:row {number}", datasource)


def _read_jsonl(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and record of each line; blank lines are no rows."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file}:row {number}: not valid JSON ({error}); one object a line") from error
            if not isinstance(record, dict):
                raise ValueError(f"{file}:row {number}: not a JSON object; one object a line")
            yield number, record


def _read_parquet(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file)
    except ValueError as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); write or download it again") from error
    batches = table.iter_batches(batch_size=_BATCH_ROWS)
    yield from enumerate((record for batch in batches for record in batch.to_pylist()), 1)


def _read_hub(name: str, split: str) -> Iterator[Row]:
    import datasets

    try:
        dataset = datasets.load_dataset(name, split=split)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: neither a path on disk nor a data set to load from the hub: {error}") from error
    # The arrow format leaves images encoded.
    batches = dataset.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    records = (record for batch in batches for record in batch.to_pylist())
    for number, record in enumerate(records, 1):
        yield row_from_record(record, Path(name).absolute(), f"{name}[{split}]:row {number}", name)

"""Read records from files, folders and the Hugging Face hub. The layout on disk decides how they are read."""

from __future__ import annotations

import codecs
import json
import os
import re
import reprlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from pepo_rlhf.data.arrow_rows import read_batches
from pepo_rlhf.data.geometry3k import read_problem_folders
from pepo_rlhf.data.row import Record

RecordReader = Callable[[], Record]
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_BATCH_ROWS = 64
_NUM_NAMED = 3  # files of a folder, in an error


def read_source(name: str, split: str, subset: str | None = None) -> Iterator[RecordReader]:
    """Yield the records of one source, each as a function that reads it, so that a bad one does not end the others.

    A file is a .jsonl, .json or .parquet file, which holds one split. A folder holds problems.jsonl, <split>.jsonl,
    parquet files as the hub lays them out, what `save_to_disk` of Hugging Face datasets wrote, or InterGPS folders.
    Anything else that looks like owner/name is the id of a data set on the hub. Columns of classes hold their names.

    Args:
        name: file, folder or hub id.
        split: of the source.
        subset: configuration of a hub data set.

    Raises:
        ValueError: names what was looked for; a record's function raises ValueError naming the record.
    """
    # os.path, as Path raises errors for a name that is too long, or below a folder that may not be entered.
    path = Path(name).absolute()
    if os.path.isfile(path):
        return _read_file(path, f"{path.parent.name}/{path.stem}")
    if os.path.isdir(path):
        try:
            return _read_folder(path, split)
        except OSError as error:
            raise _unreadable(path, error) from error
    if is_hub_id(name):
        return _read_hub(name, split, subset)
    raise ValueError(f"{name}: no such file or folder, and not the owner/name of a data set on the hub")


def is_hub_id(name: str) -> bool:
    """Return whether a name that is no path on disk may be an owner/name of the hub.

    It is taken for a path, which nobody needs to ask the hub for, where its first part is a folder here.
    """
    return _HUB_ID.fullmatch(name) is not None and not os.path.isdir(name.partition("/")[0])


def image_folder(name: str) -> Path:
    """Return the folder that the images of a source lie in; for the hub it is the cache of Hugging Face."""
    path = Path(name).absolute()
    if os.path.exists(path):
        return path if os.path.isdir(path) else path.parent
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME)


def _read_folder(folder: Path, split: str) -> Iterator[RecordReader]:
    patterns = ["problems.jsonl", f"{split}.jsonl", f"data/{split}.jsonl"]
    patterns += [f"{split}.parquet", f"{split}-*.parquet", f"data/{split}.parquet", f"data/{split}-*.parquet"]
    patterns += [f"{split}/*.parquet"]
    for pattern in patterns:
        if files := sorted(folder.glob(pattern)):
            return chain.from_iterable(_read_file(file, folder.name) for file in files)
    saved = ["dataset_dict.json", "state.json"]
    if any(os.path.isfile(folder / file) for file in saved):
        return _read_saved(folder, split)
    for problems in (folder / split, folder):
        if any(problems.glob("*/data.json")):
            return read_problem_folders(problems, folder.name)
    layouts = [*patterns, *saved, f"{split}/*/data.json", "*/data.json"]
    others = sorted(str(path) for path in folder.iterdir() if path.suffix in _READERS)[:_NUM_NAMED]
    hint = f"; if you mean {' or '.join(others)}, name that file" if others else ""
    raise ValueError(f"{folder}: no data of the split {split!r}; looked for {', '.join(layouts)}{hint}")


def _read_file(file: Path, datasource: str) -> Iterator[RecordReader]:
    if not os.path.isfile(file):
        raise ValueError(f"{file}: a data file has this name, and there is a folder or a broken link; rename that")
    if file.suffix not in _READERS:
        raise ValueError(f"{file}: not a data file; convert it to {' or '.join(_READERS)}")
    return _until_unreadable(file, _READERS[file.suffix](file, datasource))


def _until_unreadable(file: Path, readers: Iterator[RecordReader]) -> Iterator[RecordReader]:
    try:
        yield from readers
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: cannot be read ({error.strerror}); mend its name, its permissions or its disk")


def _read_json(file: Path, datasource: str) -> Iterator[RecordReader]:
    """Yield a reader for each object of one array, or of one object a line."""
    text = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not text.lstrip().startswith(b"["):
        yield from _read_jsonl(file, datasource)
        return
    try:
        records = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not valid JSON ({error}); write one array, or one object a line") from error
    for number, record in enumerate(records, 1):
        yield partial(_record_of_object, record, file.parent, f"{file}:row {number}", datasource)


def _read_jsonl(file: Path, datasource: str) -> Iterator[RecordReader]:
    """Yield a reader for each line. Rows are counted by line; blank lines are no rows."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield partial(_record_of_line, line, file.parent, f"{file}:row {number}", datasource)


def _record_of_line(line: bytes, folder: Path, source: str, datasource: str) -> Record:
    try:
        record = json.loads(line.rstrip(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        # Its own message would say line 1, or 2 at the end of the line, of whichever row.
        reason = f"{error.msg}, column {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
        raise ValueError(f"{source}: not valid JSON ({reason}); one object a line") from error
    return _record_of_object(record, folder, source, datasource)


def _record_of_object(record: Any, folder: Path, source: str, datasource: str) -> Record:
    if not isinstance(record, dict):
        raise ValueError(f"{source}: not a JSON object; one object a line")
    return Record(record, folder, source, datasource)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; of two values for a key json.loads would take the last and say nothing."""
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ValueError(f"two values for the key {reprlib.repr(key)}; keep one of them")
        record[key] = value
    return record


def _read_parquet(file: Path, datasource: str) -> Iterator[RecordReader]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        parquet = ParquetFile(file)
        batches = parquet.iter_batches(batch_size=_BATCH_ROWS)
        yield from read_batches(batches, parquet.schema_arrow, file.parent, str(file), datasource)
    except (OSError, ArrowException) as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); write or download it again") from error


_READERS = {".jsonl": _read_jsonl, ".json": _read_json, ".parquet": _read_parquet}


def _read_hub(name: str, split: str, subset: str | None) -> Iterator[RecordReader]:
    import datasets

    try:
        dataset = datasets.load_dataset(name, subset, split=split)
    # RuntimeError: data sets that are a script, which `datasets` no longer runs.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{name}: neither a path on disk nor a data set to load from the hub: {reason}") from error
    return _read_dataset(dataset, Path(name).absolute(), f"{name}[{split}]", name)


def _read_saved(folder: Path, split: str) -> Iterator[RecordReader]:
    import datasets

    try:
        dataset = datasets.load_from_disk(str(folder))
    # What is valid JSON and not what `datasets` wrote ends in any of these.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder}: not a readable data set of save_to_disk ({error}); save it again") from error
    source = str(folder)
    if isinstance(dataset, datasets.DatasetDict):
        if split not in dataset:
            raise ValueError(f"{folder}: no split {split!r}; choose one of {', '.join(dataset)}")
        dataset, source = dataset[split], f"{folder}[{split}]"
    return _read_dataset(dataset, folder, source, folder.name)


def _read_dataset(dataset, folder: Path, source: str, datasource: str) -> Iterator[RecordReader]:
    from pyarrow import ArrowException

    # The arrow format leaves images encoded.
    batches = dataset.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    try:
        yield from read_batches(batches, dataset.features.arrow_schema, folder, source, datasource)
    except (OSError, ArrowException) as error:
        raise ValueError(f"{source}: not readable arrow files ({error}); save or download it again") from error

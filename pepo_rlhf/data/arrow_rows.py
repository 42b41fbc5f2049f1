"""Records of arrow batches, which parquet files and Hugging Face data sets consist of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pepo_rlhf.data.row import Record


def read_batches(
    batches: Iterable, schema: Any, folder: Path, source: str, datasource: str
) -> Iterator[Callable[[], Record]]:
    """Yield a function for each record of `batches`, which reads the record.

    Raise ValueError for a schema that leaves open what a record holds. A record's function raises ValueError if the
    record cannot be read.
    """
    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise ValueError(f"{source}: two columns are called {twice[0]!r}; keep one of them")
    classes = _class_names(schema, source)
    places = ((batch, index) for batch in batches for index in range(batch.num_rows))
    for number, (batch, index) in enumerate(places, 1):
        yield partial(_named_record, batch, index, classes, folder, f"{source}:row {number}", datasource)


def _class_names(schema, source: str) -> dict[str, list]:
    """Return the names of the classes of each column, as Hugging Face's metadata of an arrow schema has them."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features") or {}
        return {
            column: list(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{source}: its metadata of Hugging Face datasets are damaged ({error}); write or download it again"
        ) from error


def _named_record(batch, index: int, classes: dict[str, list], folder: Path, source: str, datasource: str) -> Record:
    record = _read_record(batch, index, source)
    for column, names in classes.items():
        number = record.get(column)
        if number is None or isinstance(number, str):  # gone, or the name itself, under metadata that are older
            continue
        if not (isinstance(number, int) and 0 <= number < len(names)):
            raise ValueError(
                f"{source}: the column {column!r} holds {number}, which is none of its {len(names)} classes; correct "
                "it, drop the row, or name another split where labels are hidden (-1)"
            )
        record[column] = names[number]
    return Record(record, folder, source, datasource)


def _read_record(batch, index: int, source: str) -> dict[str, Any]:
    record = {}
    for column, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            record[column] = values[index].as_py()
        # A date that Python has not, bytes that are no text, a time zone that nobody knows.
        except (ValueError, OverflowError, LookupError, NotImplementedError) as error:
            raise ValueError(
                f"{source}: the column {column!r} holds what cannot be read ({error}); mend it, or leave the column out"
            ) from error
    return record

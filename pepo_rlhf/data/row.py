"""A record of a data set as it was published, and the row to train on that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

IMAGE_PLACEHOLDER = "<image>"


class Record(NamedTuple):
    """A record before a row is made of it.

    fields: values by column
    folder: folder that relative image paths start at
    source: where it comes from, for messages: "train.jsonl:row 3"
    datasource: name of the data set
    """

    fields: Mapping[str, Any]
    folder: Path
    source: str
    datasource: str


@dataclass(frozen=True)
class Row:
    """A problem about images, and its label.

    prompt: user text, with one `<image>` where each image stands
    images: absolute path or encoded bytes of each image, in the order of the placeholders; until it is loaded, its URL
    label: what the rewards compare a response with
    source: where the row comes from, for messages: "train.jsonl:row 3"
    datasource: name of the dataset, for metrics per dataset
    system: system message, or empty
    instruction: text after the prompt, where neither asks for <answer>; None is INSTRUCTION
    """

    prompt: str
    images: tuple[str | bytes, ...]
    label: str
    source: str
    datasource: str
    system: str = ""
    instruction: str | None = None

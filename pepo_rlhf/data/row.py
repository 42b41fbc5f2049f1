"""One row of a dataset, the same for every source."""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Row:
    """A problem about images, and its label.

    prompt: user text, with one `<image>` where each image stands
    images: absolute path or encoded bytes of each image, in the order of the placeholders; until it is loaded, its URL
    label: what the rewards compare a response with
    source: where the row comes from, for messages: "train.jsonl:row 3"
    datasource: name of the dataset, for metrics per dataset
    system: system message, or empty
    """

    prompt: str
    images: tuple[str | bytes, ...]
    label: str
    source: str
    datasource: str
    system: str = ""

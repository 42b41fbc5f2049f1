"""Whether a manifest has the shape that fields.py describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pepo_rlhf.checks.manifests.fields import ANY, REQUIRED, SHAPES, Value


def shape_errors(resource: dict[str, Any]) -> Iterator[str]:
    """What stands where it cannot, a line each, with the field and what belongs there."""
    return _errors(resource, SHAPES.get(resource["kind"], {}), "")


def _errors(value: Any, shape: Any, field: str) -> Iterator[str]:
    fits = shape.fits(value) if isinstance(shape, Value) else isinstance(value, type(shape))
    if not fits:
        yield f"{field} is {_describe(value)}: give it {_wanted(shape)}{', or leave it out' if value is None else ''}"
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            yield from _errors(item, shape[0], f"{field}[{index}]")
    elif isinstance(shape, dict):
        yield from _mapping_errors(value, shape, field)


def _mapping_errors(value: dict, shape: dict, field: str) -> Iterator[str]:
    if ANY in shape:
        for name, item in value.items():
            if isinstance(name, str):
                yield from _errors(item, shape[ANY], f"{field}.{name}")
            else:
                yield f"{field} has the key {_describe(name)}: put it in quotes"
        return
    for key, inner in shape.items():
        name = key.removesuffix("?")
        below = f"{field}.{name}".lstrip(".")
        if key in REQUIRED and value.get(name) in (None, "", [], {}):
            yield f"{below} is missing or empty: give it {_wanted(inner)}"
        elif name in value:
            yield from _errors(value[name], inner, below)


def _wanted(shape: Any) -> str:
    return shape.wanted if isinstance(shape, Value) else "a mapping" if isinstance(shape, dict) else "a list"


def _describe(value: Any) -> str:
    """As YAML would say it, in a word."""
    if value is None:
        return "null"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)

"""Ranges of numeric settings. A range stands on the field that it limits: `lr: float = number(1e-6, ABOVE_0)`."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_RANGE = "range"
_KINDS = {int: "a whole number", float: "a number"}


class Range(NamedTuple):
    """Values that a number may take: `description` completes "must be ..." in the error message."""

    description: str
    holds: Callable[[float], bool]


AT_LEAST_0 = Range("at least 0", lambda value: value >= 0)
AT_LEAST_1 = Range("at least 1", lambda value: value >= 1)
AT_LEAST_2 = Range("at least 2", lambda value: value >= 2)
ABOVE_0 = Range("greater than 0", lambda value: value > 0)
ABOVE_0_OR_INFINITE = Range("greater than 0 (inf is allowed)", lambda value: value > 0)
ABOVE_0_TO_1 = Range("greater than 0 and at most 1", lambda value: 0 < value <= 1)
ABOVE_0_TO_2 = Range("greater than 0 and at most 2", lambda value: 0 < value <= 2)  # vLLM refuses higher temperatures
ABOVE_1 = Range("greater than 1", lambda value: value > 1)
AT_MOST_1 = Range("at most 1", lambda value: value <= 1)
BELOW_1 = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
FROM_0_TO_1 = Range("from 0 to 1", lambda value: 0 <= value <= 1)
FROM_0_TO_2 = Range("from 0 to 2", lambda value: 0 <= value <= 2)
FROM_0_TO_3 = Range("from 0 to 3", lambda value: 0 <= value <= 3)
FINITE = Range("finite", lambda value: True)
NOT_0 = Range("other than 0", lambda value: value != 0)
NEVER_OR_ABOVE_0 = Range("-1 (never) or greater than 0", lambda value: value == -1 or value > 0)
NEVER_OR_AT_LEAST_1 = Range("-1 (never) or at least 1", lambda value: value == -1 or value >= 1)
SEED = Range(
    "at least 0 and below 2**31", lambda value: 0 <= value < 2**31
)  # each engine adds its index; NumPy's limit


def number(default: Any, allowed: Range) -> Any:
    """Return a dataclass field whose numbers must lie in `allowed`; None is not tested, a list number by number."""
    metadata = {_RANGE: allowed}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def argument(kind: type[int] | type[float], allowed: Range) -> Callable[[str], int | float]:
    """Return what argparse takes as the `type` of a flag whose numbers must lie in `allowed`."""

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {_KINDS[kind]}, not {text}") from None
        if problem := _problem_of(value, allowed, value):
            raise argparse.ArgumentTypeError(problem)
        return value

    return read


def values_in_range(config: Any) -> str | None:
    """Return the first number that cannot be used or lies outside the range on its field, in one line, or None."""
    for flag, field, value in settings_of(config):
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, int | float) and (problem := _problem_of(item, field.metadata.get(_RANGE), value)):
                return f"--{flag} {problem}"
    return None


def _problem_of(number: float, allowed: Range | None, value: Any) -> str | None:
    """Return what is wrong with a number of a setting's value, or None."""
    if isinstance(number, int) and abs(number) >= 2**63:
        return "is too large a number: give a smaller one"
    if math.isnan(number):
        return "is not a number: give one"
    if allowed is None or (allowed.holds(number) and (math.isfinite(number) or allowed is ABOVE_0_OR_INFINITE)):
        return None
    return f"must be {allowed.description}, not {value}"


def settings_of(section: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Yield (flag, field, value) of every setting of a dataclass and of the sections in it; dicts by their keys."""
    for field in dataclasses.fields(section):
        flag, value = f"{prefix}{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{flag}.")
        elif isinstance(value, dict):
            yield from ((f"{flag}.{key}", field, item) for key, item in value.items())
        else:
            yield flag, field, value

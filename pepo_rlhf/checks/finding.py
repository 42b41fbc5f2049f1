"""One line of the table that `python -m pepo_rlhf.check` prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_FLAG = re.compile(r"--[a-z]\w*\.[\w.]*\w")


@dataclass(frozen=True)
class Finding:
    """What a check found, and the flags that change it."""

    level: Literal["ok", "warning", "error"]
    message: str
    flags: tuple[str, ...] = ()


def ok(message: str) -> Finding:
    return Finding("ok", message)


def warning(message: str, *flags: str) -> Finding:
    return Finding("warning", message, flags or flags_in(message))


def error(message: str, *flags: str) -> Finding:
    return Finding("error", message, flags or flags_in(message))


def flags_in(message: str) -> tuple[str, ...]:
    """Return the flags that a message names, each once."""
    return tuple(dict.fromkeys(_FLAG.findall(message)))

"""Labels that hold more than the answer's text: JSON objects, told apart by their keys. A task's verifier reads them.

{"choice": "B", "options": ["red", "blue"]}
{"number": "1.2", "precision": 1}
{"box": [14, 28, 56, 84], "frame": [112, 112]}
{"names": ["737-700", "Boeing 737-700"]}

The first field is a right answer, or a list of the texts that are one.
"""

from __future__ import annotations

import json
from typing import Any


def read_label(label: str) -> dict[str, Any]:
    """Return the fields of a structured label, and {} for a plain one."""
    if not label.startswith("{"):
        return {}
    try:
        fields = json.loads(label)
    except json.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def right_answer(label: str) -> str:
    """Return an answer that a verifier grades as right: the label itself, or what its first field holds."""
    match [*read_label(label).values()]:
        case [[str(text), *_], *_]:
            return text
        case [value, *_]:
            return str(value)
    return label


def stated_value(label: str) -> str:
    """Return what a worked solution ends in, after #### or in its last box; the label itself if it is none."""
    solution, mark, value = label.rpartition("####")
    if mark:
        return value.strip()
    solution, mark, value = label.rpartition("\\boxed{")
    depth = 1
    for position, char in enumerate(value if mark else ""):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return value[:position]
    return label


def require_label(label: str, key: str) -> dict[str, Any]:
    """Return the fields of a structured label. Raise ValueError if `key` is not among them."""
    fields = read_label(label)
    if key not in fields:
        raise ValueError(f"the label {label[:200]!r} has no {key!r}; pepo_rlhf.prepare writes labels that do")
    return fields

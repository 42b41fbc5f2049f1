"""Labels that hold more than the answer's text: JSON objects, told apart by their keys.

{"choice": "B", "options": ["red", "blue"]}   see choice.py
{"number": "1.2", "precision": 1}             see answer.py
{"box": [14, 28, 56, 84], "frame": [112, 112]}   see box.py
{"names": ["737-700", "Boeing 737-700"]}      see label_match.py
"""

from __future__ import annotations

import json
from typing import Any


class LabelError(ValueError):
    """An answer of a data set that no label can be made of; the message says why and how to mend it."""


def read_label(label: str) -> dict[str, Any]:
    """Fields of a structured label; none of a plain one."""
    if not label.startswith("{"):
        return {}
    try:
        fields = json.loads(label)
    except json.JSONDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def require_label(label: str, key: str) -> dict[str, Any]:
    """Fields of a structured label; raises ValueError if `key` is none of them."""
    fields = read_label(label)
    if key not in fields:
        raise ValueError(f"the label {label[:200]!r} has no {key!r}; pepo_rlhf.prepare writes labels that do")
    return fields

"""Label match reward: does the first answer of a response name the class?"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.structured_label import LabelError, require_label

_WRAPPED = re.compile(r"\\(?:boxed|text|textbf) ?\{(.*)\}|\*\*(.*)\*\*")
_ARTICLE = re.compile(r"^(?:an?|the) +")


def label_match_reward(response: str, label: str) -> float:
    """1.0 if the whole first answer of the response is a name of the class, else 0.0.

    Case, spaces, punctuation, an article and a box around it do not count. A name inside a longer text does not match:
    a list of all classes would.

    Raises ValueError for a label that `class_label` did not make.
    """
    return float(fold_name(extract_answer(response) or "") in map(fold_name, require_label(label, "names")["names"]))


def class_label(names: Sequence[str]) -> str:
    """Label of a class with one or more names; raises LabelError for a name without a letter or digit."""
    for name in names:
        if not fold_name(name):
            raise LabelError(f"the class name {name!r} has no letter or digit; name a data set with class names")
    return json.dumps({"names": list(names)}, ensure_ascii=False)


def fold_name(text: str) -> str:
    """What is compared of a name: its letters and digits."""
    text = text.strip()
    while match := _WRAPPED.fullmatch(text):
        text = next(group for group in match.groups() if group is not None).strip()
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in _ARTICLE.sub("", text, count=1) if char.isalnum())

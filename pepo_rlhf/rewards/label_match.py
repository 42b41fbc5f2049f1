"""Label match reward: does the first answer of a response name the class?"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.structured_label import LabelError, require_label

_WRAPPED = re.compile(r"(?:\\(?:boxed|text|textbf) ?\{(.*)\}|\$(.*)\$|\*\*(.*)\*\*)\.?")
_ARTICLE = re.compile(r"^(?:an?|the) +")


def label_match_reward(response: str, label: str) -> float:
    """1.0 if the whole first answer of the response is a name of the class, else 0.0.

    Case, spaces, punctuation, an article and a box around it do not count. A name inside a longer text does not match:
    a list of all classes would.

    Raises ValueError for a label that `class_label` did not make.
    """
    answer = _unwrap(extract_answer(response) or "")
    # With the article as well: "A 310" is the A310.
    forms = {fold_name(answer), _letters_and_digits(answer)}
    return float(any(fold_name(name) in forms for name in require_label(label, "names")["names"]))


def class_label(names: Sequence[str]) -> str:
    """Label of a class with one or more names; raises LabelError for a name without a letter or digit."""
    for name in names:
        if not fold_name(name):
            raise LabelError(f"the class name {name!r} has no letter or digit; name a data set with class names")
    return json.dumps({"names": list(names)}, ensure_ascii=False)


def fold_name(text: str) -> str:
    """What is compared of a name: its letters and digits, less an article."""
    return _letters_and_digits(_ARTICLE.sub("", _unwrap(text), count=1))


def _unwrap(text: str) -> str:
    text = text.strip()
    while match := _WRAPPED.fullmatch(text):
        text = next(group for group in match.groups() if group is not None).strip()
    return unicodedata.normalize("NFKC", text).casefold()


def _letters_and_digits(text: str) -> str:
    return "".join(char for char in text if char.isalnum())

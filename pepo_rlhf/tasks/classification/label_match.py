"""Label match reward: does the first answer of a response name the class?"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.data.labels import require_label
from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.notation import unwrap

_ARTICLE = re.compile(r"^(?:an?|the) +")


def label_match_reward(response: str, label: str) -> float:
    """Return 1.0 if the whole first answer of the response is a name of the class, else 0.0.

    Case, spaces, punctuation, an article and a box around it do not count. A name inside a longer text does not match:
    a list of all classes would.

    Raise ValueError for a label that `class_label` did not make.
    """
    answer = _unwrap(extract_answer(response) or "")
    # With the article as well: "A 310" is the A310.
    forms = {fold_name(answer), _letters_and_digits(answer)}
    return float(any(fold_name(name) in forms for name in require_label(label, "names")["names"]))


def class_label(names: Sequence[str]) -> str:
    """Return the label of a class with one or more names; raise LabelError for a name without a letter or digit."""
    for name in names:
        if not fold_name(name):
            raise LabelError(f"the class name {name!r} has no letter or digit; name a data set with class names")
    return json.dumps({"names": list(names)}, ensure_ascii=False)


def name_vote(answer: str, label: str, right: bool) -> str | None:
    """Return the form of a name that a majority is counted by: all names of the class count as the label."""
    return label if right else fold_name(answer)


def fold_name(text: str) -> str:
    """Return what is compared of a name: its letters and digits, without an article."""
    return _letters_and_digits(_ARTICLE.sub("", _unwrap(text), count=1))


def _unwrap(text: str) -> str:
    return unicodedata.normalize("NFKC", unwrap(text)).casefold()


def _letters_and_digits(text: str) -> str:
    return "".join(char for char in text if char.isalnum())

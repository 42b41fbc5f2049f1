"""The rewards that the paper's released scripts train with, for runs that are to be compared with theirs.

They differ from `format` and `accuracy` in both directions, so that rewards of one are no measure of the other.
"""

from __future__ import annotations

import unicodedata

from pepo_rlhf.rewards.accuracy import extract_answer


def format_pairs(response: str, label: str) -> float:
    """Return 1.0 if the response holds one think pair and one answer pair; their order and stray tags are free."""
    return float(_num_pairs(response, "think") == _num_pairs(response, "answer") == 1)


def accuracy_mathruler(response: str, label: str) -> float:
    """Return 1.0 if mathruler takes the label for the first tagged answer of the response, else 0.0.

    As in the released code, mathruler gets the label in the place of the answer, and an error in it counts as wrong.
    """
    from mathruler.grader import grade_answer  # loads sympy, which takes a second

    answer = extract_answer(response)
    if answer is None:
        return 0.0
    try:
        return float(grade_answer(_normalise(label), _normalise(answer)))
    except Exception:  # whatever the answer makes mathruler raise
        return 0.0


def _num_pairs(text: str, tag: str) -> int:
    count = 0
    while True:
        _, _, rest = text.partition(f"<{tag}>")
        _, closing, text = rest.partition(f"</{tag}>")
        if not closing:
            return count
        count += 1


def _normalise(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return (text[:-1].strip() if text.endswith((".", "。")) else text).replace("π", r"\pi")

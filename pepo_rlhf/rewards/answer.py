"""Answer reward: a choice, a rounded number or mathematics, as the label asks, for data that mix kinds of questions."""

from __future__ import annotations

import json
import math

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.data.labels import read_label
from pepo_rlhf.rewards.accuracy import extract_answer, number_in, same_answer
from pepo_rlhf.rewards.notation import normalise
from pepo_rlhf.tasks.puzzles.choice import choice_reward, chosen_letter


def answer_reward(response: str, label: str) -> float:
    """Return 1.0 if the first answer of the response is right, else 0.0.

    A label of a choice asks for its option, one of a number for a value that rounds to it, any other for `same_answer`.
    """
    fields = read_label(label)
    if "choice" in fields:
        return choice_reward(response, label)
    answer = extract_answer(response) or ""
    if "number" in fields:
        return float(same_answer(answer, fields["number"]) or _rounds_to(answer, fields["number"], fields["precision"]))
    return float(same_answer(answer, label))


def number_label(number: str, precision: int) -> str:
    """Return the label of a number that an answer, rounded to `precision` decimals, must equal.

    Raise LabelError if `number` is no number.
    """
    try:
        float(number)
    except ValueError:
        raise LabelError(f"the answer {number!r} is no number; correct it, or drop the row") from None
    return json.dumps({"number": number, "precision": precision})


def mathematical_vote(answer: str, label: str, right: bool) -> str | None:
    """Return the form of an answer that a majority is counted by; None for an answer that chooses no option.

    Right answers are written in many ways and count as the label.
    """
    if "choice" in read_label(label):
        return chosen_letter(answer, label)
    return label if right else normalise(answer)


def _rounds_to(answer: str, number: str, precision: int) -> bool:
    value = number_in(answer)
    return value is not None and math.isfinite(value) and round(value, precision) == float(number)

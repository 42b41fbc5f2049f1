"""Answer reward: the verifier that the kind of a label asks for, for benchmarks that mix kinds of questions."""

from __future__ import annotations

import json
import math

from pepo_rlhf.rewards.accuracy import extract_answer, number_in, same_answer
from pepo_rlhf.rewards.box import read_box
from pepo_rlhf.rewards.choice import choice_reward, chosen_letter
from pepo_rlhf.rewards.label_match import fold_name
from pepo_rlhf.rewards.notation import normalise
from pepo_rlhf.rewards.structured_label import LabelError, read_label


def answer_reward(response: str, label: str) -> float:
    """1.0 if the first answer of the response is right, else 0.0: a choice, a rounded number, or `same_answer`."""
    fields = read_label(label)
    if "choice" in fields:
        return choice_reward(response, label)
    answer = extract_answer(response) or ""
    if "number" in fields:
        return float(same_answer(answer, fields["number"]) or _rounds_to(answer, fields["number"], fields["precision"]))
    return float(same_answer(answer, label))


def number_label(number: str, precision: int) -> str:
    """Label of a number that an answer equals once it is rounded to `precision` decimals; LabelError for no number."""
    try:
        float(number)
    except ValueError:
        raise LabelError(f"the answer {number!r} is no number; correct it, or drop the row") from None
    return json.dumps({"number": number, "precision": precision})


def predicted_answer(response: str, label: str, right: bool) -> str | None:
    """What the response answers, in a form that equal answers share; None for no answer. Majorities count these.

    right: it was graded as equal to the label. Such answers are written in many ways and share the label as their form.
    """
    answer, fields = extract_answer(response), read_label(label)
    if not answer:
        return None
    if "choice" in fields:
        return chosen_letter(answer, label)
    if "box" in fields:
        box = read_box(answer)
        return None if box is None else str(list(box))
    if right:
        return label
    return fold_name(answer) if "names" in fields else normalise(answer)


def _rounds_to(answer: str, number: str, precision: int) -> bool:
    value = number_in(answer)
    return value is not None and math.isfinite(value) and round(value, precision) == float(number)

from __future__ import annotations

import pytest

from pepo_rlhf.rewards.answer import answer_reward, number_label, predicted_answer
from pepo_rlhf.rewards.box import box_label
from pepo_rlhf.rewards.choice import choice_label
from pepo_rlhf.rewards.label_match import class_label

CHOICE = choice_label("B", ["3", "4"])


def respond(answer: str) -> str:
    return f"<think></think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("answer", "label", "score"),
    [
        ("B", CHOICE, 1.0),
        ("4", CHOICE, 1.0),
        ("3", CHOICE, 0.0),
        ("1.23", number_label("1.2", 1), 1.0),
        ("1.16", number_label("1.2", 1), 1.0),
        ("1.3", number_label("1.2", 1), 0.0),
        ("6/5", number_label("1.2", 1), 1.0),
        (r"\frac{6}{5}", number_label("1.2", 1), 1.0),
        ("nan", number_label("1.2", 1), 0.0),
        ("1e999", number_label("1.2", 1), 0.0),
        (r"\frac{1}{2}", "0.5", 1.0),
        ("50%", "0.5", 1.0),
        ("orange", "Orange", 1.0),
        ("{1, 2}", "{1, 2}", 1.0),
        ("", "0.5", 0.0),
    ],
)
def test_the_kind_of_the_label_chooses_the_verifier(answer: str, label: str, score: float) -> None:
    assert answer_reward(respond(answer), label) == score


def test_equal_answers_are_predicted_in_one_form() -> None:
    assert predicted_answer(respond("(b) 4"), CHOICE) == predicted_answer(respond("4"), CHOICE) == "B"
    box = box_label([1, 2, 3, 4], (9, 9))
    assert predicted_answer(respond("(3, 4), (1, 2)"), box) == predicted_answer(respond("[1, 2, 3.0, 4]"), box)
    names = class_label(["tiger lily"])
    assert predicted_answer(respond("Tiger Lily."), names) == predicted_answer(respond("a tiger-lily"), names)
    assert predicted_answer(respond(" 13. "), "14") == "13"


@pytest.mark.parametrize("response", ["13", "<answer></answer>", "<answer>13"])
def test_no_answer_predicts_nothing(response: str) -> None:
    assert predicted_answer(response, "13") is None

from __future__ import annotations

import pytest

from pepo_rlhf.rewards.answer import answer_reward, number_label, predicted_answer
from pepo_rlhf.rewards.box import box_label
from pepo_rlhf.rewards.choice import choice_label
from pepo_rlhf.rewards.label_match import class_label
from pepo_rlhf.rewards.structured_label import LabelError

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
        ("$1.23$", number_label("1.2", 1), 1.0),
        (r"\boxed{1.23}", number_label("1.2", 1), 1.0),
        ("37/30", number_label("1.2", 1), 1.0),  # 1.2333
        ("√2", number_label("1.41", 2), 1.0),
        ("√2", number_label("1.4", 2), 0.0),
        ("1,234.56", number_label("1234.6", 1), 1.0),
        ("1.23e2", number_label("123.0", 1), 1.0),
        (r"\infty", number_label("1.2", 1), 0.0),
        ("x", number_label("1.2", 1), 0.0),
        ("(1.2, 3)", number_label("1.2", 1), 0.0),
        ("1.23.", number_label("1.2", 1), 1.0),
        ("$1.23$ or 1.3", number_label("1.2", 1), 0.0),
        ("nan", number_label("1.2", 1), 0.0),
        ("1e999", number_label("1.2", 1), 0.0),
        (r"\frac{1}{2}", "0.5", 1.0),
        ("50%", "0.5", 1.0),
        ("orange", "Orange", 1.0),
        (r"\boxed{\text{orange}}", "Orange", 1.0),
        ("{1, 2}", "{1, 2}", 1.0),
        ("", "0.5", 0.0),
    ],
)
def test_the_kind_of_the_label_chooses_the_verifier(answer: str, label: str, score: float) -> None:
    assert answer_reward(respond(answer), label) == score


def test_equal_answers_are_predicted_in_one_form() -> None:
    def predict(answer: str, label: str, right: bool = False) -> str | None:
        return predicted_answer(respond(answer), label, right)

    assert predict("(b) 4", CHOICE, right=True) == predict("4", CHOICE, right=True) == "B"
    box = box_label([1, 2, 3, 4], (9, 9))
    assert predict("(3, 4), (1, 2)", box) == predict("[1, 2, 3.0, 4]", box)
    names = class_label(["tulip"])
    assert predict("Tiger Lily.", names) == predict("a tiger-lily", names)
    assert predict(" 13. ", "14") == "13"


@pytest.mark.parametrize(
    ("label", "answers"),
    [
        (r"\frac{1}{2}", ["1/2", "0.5", r"\frac{1}{2}", "$0.50$"]),
        (number_label("1.2", 1), ["1.2", "1.23", "6/5"]),
        (class_label(["737-700", "Boeing 737-700"]), ["737-700", "a Boeing 737-700"]),
    ],
)
def test_right_answers_are_predicted_as_the_label(label: str, answers: list[str]) -> None:
    assert {predicted_answer(respond(answer), label, right=True) for answer in answers} == {label}


def test_a_number_label_needs_a_number() -> None:
    with pytest.raises(LabelError, match="is no number"):
        number_label("", 1)


@pytest.mark.parametrize("response", ["13", "<answer></answer>", "<answer>13"])
def test_no_answer_predicts_nothing(response: str) -> None:
    assert predicted_answer(response, "13", right=False) is None

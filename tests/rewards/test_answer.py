from __future__ import annotations

import pytest

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.rewards.answer import answer_reward, mathematical_vote, number_label
from pepo_rlhf.tasks.puzzles.choice import choice_label

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


def test_answers_that_choose_the_same_option_or_are_written_alike_share_a_vote() -> None:
    assert mathematical_vote("(b) 4", CHOICE, True) == mathematical_vote("4", CHOICE, True) == "B"
    assert mathematical_vote(" 13. ", "14", False) == "13"


@pytest.mark.parametrize(
    ("label", "answers"),
    [
        (r"\frac{1}{2}", ["1/2", "0.5", r"\frac{1}{2}", "$0.50$"]),
        (number_label("1.2", 1), ["1.2", "1.23", "6/5"]),
    ],
)
def test_right_answers_vote_for_the_label(label: str, answers: list[str]) -> None:
    assert {mathematical_vote(answer, label, True) for answer in answers} == {label}


def test_a_number_label_needs_a_number() -> None:
    with pytest.raises(LabelError, match="is no number"):
        number_label("", 1)

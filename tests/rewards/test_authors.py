"""The released runs' rewards, by the rules of their code and of mathruler 0.1.0."""

from __future__ import annotations

import pytest

from pepo_rlhf.rewards.authors import accuracy_mathruler, format_pairs

THINK, ANSWER = "<think>30 + 50</think>", "<answer>80</answer>"


@pytest.mark.parametrize(
    "response",
    [
        THINK + ANSWER,
        ANSWER + THINK,
        f"</think>{THINK}{ANSWER}<answer>",
        f"<think>{THINK}{ANSWER}",  # an opening tag inside the pair
        f"<think>30 + 50{ANSWER}</think>",
    ],
)
def test_one_pair_of_each_in_any_order_scores_one(response: str) -> None:
    assert format_pairs(response, "80") == 1.0


@pytest.mark.parametrize(
    "response", ["", THINK, ANSWER, THINK + ANSWER + ANSWER, THINK + THINK + ANSWER, "</think><think>" + ANSWER]
)
def test_any_other_number_of_pairs_scores_nothing(response: str) -> None:
    assert format_pairs(response, "80") == 0.0


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("13", "13"),
        (" 13. ", "13"),
        ("13.0", "13"),
        ("x = 13", "13"),  # mathruler drops a name of one letter
        ("13 cm", "13"),  # a unit in its list
        (r"13^\circ", "13"),
        (r"10 \sqrt{2}", r"10\sqrt{2}"),
        ("2π", r"2\pi"),
        ("0.5", r"\frac{1}{2}"),
        ("1,000", "1000"),
    ],
)
def test_mathruler_takes(answer: str, label: str) -> None:
    assert accuracy_mathruler(f"<think></think><answer>{answer}</answer>", label) == 1.0


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("14", "13"),
        ("", "13"),
        ("13 units", "13"),  # not in its list
        ("13°", "13"),  # it knows \circ only
        ("8/2", "4"),  # a label that is whole asks for the number itself
        ("10√2", r"10\sqrt{2}"),
        ("(", "13"),
    ],
)
def test_mathruler_refuses(answer: str, label: str) -> None:
    assert accuracy_mathruler(f"<think></think><answer>{answer}</answer>", label) == 0.0


def test_only_the_first_tagged_answer_counts() -> None:
    assert accuracy_mathruler("13", "13") == 0.0
    assert accuracy_mathruler("<answer>14</answer><answer>13</answer>", "13") == 0.0

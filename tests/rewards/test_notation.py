"""The spellings of one answer, as `same_answer` tells them apart."""

from __future__ import annotations

import pytest

from pepo_rlhf.rewards.accuracy import same_answer


@pytest.mark.parametrize(
    "answer", [r"\boxed{Yes}", r"\text{yes}", r"$\boxed{\text{Yes}}$", "**Yes**", r"The answer is \boxed{yes}."]
)
def test_words_in_a_box_score_too(answer: str) -> None:
    assert same_answer(answer, "Yes")
    assert not same_answer(answer, "No")


def test_angles_and_triangles_have_a_sign_and_a_command() -> None:
    assert same_answer("∠ABC", r"\angle ABC") and same_answer(r"\triangle ABC", "△ABC")
    assert not same_answer("∠ABC", r"\angle ABD") and not same_answer("∠ABC", r"\triangle ABC")


@pytest.mark.parametrize(
    "answer",
    [
        "$13$",
        r"\(13\)",
        r"\[ 13 \]",
        "$$13$$",
        r"\boxed{13}",
        r"$\boxed{\boxed{13}}$",
        "x = 13",
        "$x$ = $13$",
        r"x = \boxed{13}",
        r"\boxed{x = 13}",
        r"m \angle 4 = 13",
        "m∠ABC = 13°",
        "AB = CD = 13 cm",
        r"13^\circ",
        r"13^{\circ}",
        "13 degrees",
        "13 square units",
        "13 cm²",
        r"13\text{ cm}^2",
        r"13\ \mathrm{in.}",
        r"13\degree",
        "13º",
        "**13**",
        r"\boxed{13} cm",
        r"The answer is \boxed{13}.",
        r"**So, the final answer is: $\boxed{13}$**",
    ],
)
def test_delimiters_box_name_degrees_and_unit_around_the_value_are_ignored(answer: str) -> None:
    assert same_answer(answer, "13")


@pytest.mark.parametrize(
    ("answer", "label", "same"),
    [
        ("5 m", "5", True),
        ("5 m", "5 metres", True),
        ("5m", r"5\mathrm{~m}", True),
        ("5 m", "5m", True),
        ("25π m²", r"25\pi", True),
        ("√3 m", r"\sqrt{3}\text{ m}", True),
        ("5 m^2", "5 square metres", True),
        ("5 m^2", "5 metres", False),
        ("5 m", "5 cm", False),
        ("1/2 m", "½ m", True),
        (r"2x\text{ m}", r"2x\,\mathrm{m}", True),
        (r"\text{m}\angle 4 = 13", "13", True),
        ("5m", "5", False),  # m may be a variable
        ("3 m", "3m + 1", False),
    ],
)
def test_a_bare_m_is_a_metre_where_nothing_else_makes_sense(answer: str, label: str, same: bool) -> None:
    assert same_answer(answer, label) == same_answer(label, answer) == same

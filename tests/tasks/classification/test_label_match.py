from __future__ import annotations

import pytest

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.tasks.classification.label_match import class_label, label_match_reward, name_vote

LABEL = class_label(["737-700", "Boeing 737-700"])


def score(answer: str, label: str = LABEL) -> float:
    return label_match_reward(f"<think>It is an A320.</think><answer>{answer}</answer>", label)


@pytest.mark.parametrize(
    "answer",
    ["737-700", " 737 700.", "Boeing 737-700", "boeing-737-700", "a Boeing 737-700", r"\boxed{737-700}", "**737-700**"]
    + [r"\text{737-700}.", "a 737-700", r"$\text{737-700}$"],
)
def test_a_name_of_the_class_scores_whatever_its_case_and_punctuation(answer: str) -> None:
    assert score(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "737",
        "737-800",
        "737-7000",
        "Airbus 737-700",
        "737-600, 737-700, 737-800",
        "not 737-700",
        "It is a 737-700",
        "-",
    ],
)
def test_part_of_a_name_and_a_name_inside_a_text_score_zero(answer: str) -> None:
    assert score(answer) == 0.0


def test_letters_beyond_ascii_and_articles_inside_names() -> None:
    assert score("Ｃafé  Rose", class_label(["café rose"])) == 1.0
    assert score("bird of paradise", class_label(["bird of paradise"])) == 1.0
    assert score("the bird of the paradise", class_label(["bird of paradise"])) == 0.0
    assert score("A 310", class_label(["A310"])) == score("an A310", class_label(["A310"])) == 1.0
    assert score("F/A-18", class_label(["F-16"])) == 0.0


def test_the_first_answer_counts() -> None:
    assert label_match_reward("<answer>A320</answer><answer>737-700</answer>", LABEL) == 0.0


def test_a_class_needs_a_name() -> None:
    with pytest.raises(LabelError, match="no letter or digit"):
        class_label(["--"])


def test_names_of_the_class_vote_for_its_label_and_others_for_themselves() -> None:
    label = class_label(["737-700", "Boeing 737-700"])
    assert name_vote("737-700", label, True) == name_vote("a Boeing 737-700", label, True) == label
    assert name_vote("Tiger Lily.", label, False) == name_vote("a tiger-lily", label, False)

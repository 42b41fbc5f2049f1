from __future__ import annotations

import pytest

from pepo_rlhf.data.labels import read_label, require_label, right_answer
from pepo_rlhf.rewards import load_rewards
from pepo_rlhf.rewards.answer import number_label
from pepo_rlhf.tasks.classification.label_match import class_label
from pepo_rlhf.tasks.grounding.box import box_label
from pepo_rlhf.tasks.puzzles.choice import choice_label


@pytest.mark.parametrize(
    ("label", "answer", "verifier"),
    [
        ("13", "13", "accuracy"),
        ("{1, 2}", "{1, 2}", "accuracy"),
        (choice_label("B", ["red", "blue"]), "B", "choice"),
        (number_label("1.2", 1), "1.2", "answer"),
        (box_label([1, 2, 3, 4], (9, 9)), "[1.0, 2.0, 3.0, 4.0]", "iou"),
        (class_label(["tulip", "tulipa"]), "tulip", "label_match"),
    ],
)
def test_a_label_holds_an_answer_that_its_verifier_takes(label: str, answer: str, verifier: str) -> None:
    assert right_answer(label) == answer
    assert load_rewards([verifier])(f"<answer>{answer}</answer>", label) == {verifier: 1.0}


def test_a_label_of_another_kind_has_no_such_fields() -> None:
    assert read_label("{broken") == read_label("[1]") == {}
    with pytest.raises(ValueError, match="has no 'choice'; pepo_rlhf.prepare writes labels that do"):
        require_label('{"number": "1.2"}', "choice")

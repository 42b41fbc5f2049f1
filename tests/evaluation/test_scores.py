from __future__ import annotations

from itertools import combinations

import pytest

from pepo_rlhf.evaluation.scores import Sample, majority_score, pass_at, summarise


@pytest.mark.parametrize(("right", "k"), [(right, k) for right in range(6) for k in range(1, 6)])
def test_pass_at_k_is_the_share_of_choices_of_k_with_a_right_one(right: int, k: int) -> None:
    samples = [True] * right + [False] * (5 - right)
    choices = list(combinations(samples, k))
    assert pass_at(5, right, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def answers(*pairs: tuple[str | None, float]) -> list[Sample]:
    return [Sample(score, prediction) for prediction, score in pairs]


def test_the_majority_is_the_most_frequent_answer() -> None:
    assert majority_score(answers(("A", 0.0), ("B", 1.0), ("B", 1.0))) == 1.0
    assert majority_score(answers(("A", 0.0), ("A", 0.0), ("B", 1.0))) == 0.0
    assert majority_score(answers(("A", 0.0), ("B", 1.0))) == 0.5, "a tie is worth its mean"
    assert majority_score(answers((None, 0.0), (None, 0.0), ("B", 1.0))) == 1.0, "no answer has no vote"
    assert majority_score(answers((None, 0.0))) == 0.0
    # Right answers share the label as their form, however they are written, and outvote two equal wrong ones.
    assert majority_score(answers(*[(r"\frac{1}{2}", 1.0)] * 4, ("0.3", 0.0), ("0.3", 0.0))) == 1.0


def test_summary_by_hand() -> None:
    prompts = [
        answers(("A", 1.0), ("A", 1.0), ("B", 0.0), ("C", 0.0)),  # 2 of 4 right
        answers(("A", 0.0), ("A", 0.0), ("A", 0.0), ("B", 1.0)),  # 1 of 4
        answers(("A", 0.0), ("B", 0.0), ("C", 0.0), (None, 0.0)),  # none
    ]
    summary = summarise(prompts)
    assert summary["avg@4"] == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert summary["pass@1"] == pytest.approx(summary["avg@4"])
    # Of 6 pairs, 1 holds no right sample of two, 3 none of one.
    assert summary["pass@2"] == pytest.approx((5 / 6 + 3 / 6 + 0) / 3)
    assert summary["pass@4"] == pytest.approx(2 / 3)
    assert summary["majority@4"] == pytest.approx((1 + 0 + 0) / 3)
    assert summary["low"] <= summary["avg@4"] <= summary["high"]


def test_one_sample_and_a_number_that_is_no_power_of_two() -> None:
    assert list(summarise([answers(("A", 1.0))])) == ["avg@1", "low", "high", "pass@1", "majority@1"]
    three = summarise([answers(("A", 1.0), ("B", 0.0), ("B", 0.0))])
    assert [name for name in three if "pass" in name] == ["pass@1", "pass@2", "pass@3"]

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.rewards.format import format_reward

GOOD = "<think>30 + 50</think><answer>80</answer>"


@pytest.mark.parametrize(
    "response",
    [
        GOOD,
        "<think>\nline\nline\n</think>\n\n<answer> 80 </answer>\n",
        "<think></think><answer></answer>",
        f"Let me see. {GOOD}",
        "<think>a</think> so <answer>80</answer> That is it.",
        "<think>1 < 2 and <b>bold</b></think><answer>80</answer>",
    ],
)
def test_one_pair_of_each_in_order_scores_one(response: str) -> None:
    assert format_reward(response, "80") == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "",
        "80",
        "<answer>80</answer>",
        "<think>30 + 50</think>",
        "<answer>80</answer><think>30 + 50</think>",
        "<think>30 + 50<answer>80</answer></think>",
        "<think>30 + 50<answer>80</think></answer>",
        "<think>30 + 50</think><answer>80",
        "<think>30 + 50<answer>80</answer>",
        f"{GOOD}<answer>80</answer>",
        f"{GOOD}{GOOD}",
        f"<think>{GOOD}",
        f"{GOOD}</answer>",
        "<think><think>30 + 50</think><answer>80</answer>",
        "<Think>30 + 50</Think><Answer>80</Answer>",
    ],
)
def test_missing_repeated_nested_or_misplaced_tags_score_zero(response: str) -> None:
    assert format_reward(response, "80") == 0.0


def test_the_label_does_not_matter() -> None:
    assert format_reward(GOOD, "something else") == 1.0


TAGS = ("<think>", "</think>", "<answer>", "</answer>")
PIECES = st.lists(st.sampled_from(TAGS) | st.text(max_size=5) | st.sampled_from(["<", ">", "/", "<think", "answer>"]))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text() | PIECES.map("".join) | st.permutations(TAGS).map(" ".join))
def test_no_text_scores_but_one_of_the_form(text: str) -> None:
    positions = [text.find(tag) for tag in TAGS]
    has_the_form = all(text.count(tag) == 1 for tag in TAGS) and positions == sorted(positions)
    assert format_reward(text, "") == (1.0 if has_the_form else 0.0)

"""The table of pairs that people have judged: response, label, verdict and why."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pepo_rlhf.rewards.accuracy import same_answer

with open(Path(__file__).with_name("pairs.csv"), encoding="utf-8", newline="") as file:
    PAIRS = list(csv.DictReader(file))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair['response']} for {pair['label']}")
def test_a_pair_is_judged_as_in_the_table_whichever_side_is_the_label(pair: dict[str, str]) -> None:
    right = pair["verdict"] == "right"
    assert same_answer(pair["response"], pair["label"]) == right, pair["why"]
    assert same_answer(pair["label"], pair["response"]) == right, pair["why"]

"""The numbers of `pepo_rlhf.credit` on responses made by hand."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from pepo_rlhf.core.signal import ResponseText
from pepo_rlhf.core.signals import BUILT_IN
from pepo_rlhf.credit import measure
from pepo_rlhf.credit.measure import (
    captured_share,
    method_table,
    over_prompts,
    rank_correlation,
    roc_area,
    signal_table,
    top_tokens,
    words_at_both_ends,
)
from pepo_rlhf.credit.responses import ScoredResponse


def respond(question, target, texts=None, **signals):
    target = np.array(target, dtype=np.float32)
    named = {name: np.array(signals.get(name, target), dtype=np.float32) for name in BUILT_IN}
    texts = texts or [f"t{place}" for place in range(len(target))]
    return ScoredResponse(
        question, list(range(len(target))), ResponseText(texts, "3", "How many?", "toy"), named, target, np.abs(target)
    )


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_area_equal_those_of_libraries_with_ties(seed):
    generator = np.random.default_rng(seed)
    signal, target = generator.integers(0, 6, 23).astype(float), generator.permutation(23).astype(float)
    assert rank_correlation(signal, target) == pytest.approx(spearmanr(signal, target).statistic)
    assert roc_area(signal, target) == pytest.approx(roc_auc_score(target >= 18, signal))  # a fifth of 23: 5 tokens


def test_area_by_hand():
    target = np.array([5.0, 1.0, 2.0, 3.0, 0.0])  # the first token is the top one
    assert roc_area(np.array([9.0, 1, 2, 3, 4]), target) == 1
    assert roc_area(np.array([0.0, 1, 2, 3, 4]), target) == 0
    assert roc_area(np.array([2.0, 1, 2, 3, 4]), target) == (1 + 0.5) / 4
    assert roc_area(np.ones(5), target) == 0.5


def test_what_is_constant_has_no_value():
    assert math.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert math.isnan(roc_area(np.arange(4.0), np.zeros(4)))
    assert math.isnan(roc_area(np.ones(1), np.ones(1)))


def test_at_least_one_token_is_a_top_one():
    assert top_tokens(np.array([0.1, 0.3])).tolist() == [0, 1]
    assert top_tokens(np.arange(10.0)).sum() == 2


def test_equal_tokens_at_the_edge_are_top_ones_in_part():
    target = np.array([0.0, 5, 0, 0, -1, 0, 0, 0, 0, 0])  # two places, the second of which eight tokens share
    top = top_tokens(target)
    assert top.tolist() == [0.125, 1, 0.125, 0.125, 0, *[0.125] * 5]
    signal = np.arange(10.0)
    chosen = [[int(place in (1, other)) for place in range(10)] for other in (0, 2, 3, 5, 6, 7, 8, 9)]
    assert roc_area(signal, target) == pytest.approx(np.mean([roc_auc_score(each, signal) for each in chosen]))


def test_means_are_over_prompts_and_leave_out_what_has_no_value():
    responses = [respond(0, [1.0]), respond(0, [3.0]), respond(1, [8.0]), respond(2, [0.0])]
    values = [1.0, 3.0, 8.0, math.nan]
    estimate = over_prompts(responses, lambda number, response: values[number])
    assert estimate.mean == 5.0 and estimate.low == 2.0 and estimate.high == 8.0
    assert math.isnan(over_prompts(responses, lambda number, response: math.nan).mean)


def test_a_signal_that_is_the_target_finds_it_and_one_turned_round_does_not():
    targets = np.random.default_rng(0).random((6, 10))
    responses = [respond(number, target, entropy=-target) for number, target in enumerate(targets)]
    table = signal_table(responses)
    assert tuple(table["visual_similarity"][0]) == pytest.approx((1, 1, 1)) and table["visual_similarity"][1].low == 1
    assert table["entropy"][0].high == pytest.approx(-1) and table["entropy"][1].high == 0


def test_methods_by_hand(monkeypatch):
    monkeypatch.setattr(measure, "BUILT_IN", ("looking", "uniform", "vppo"))
    texts = ["<think", " 3", "</", "think", "4"]
    responses = [respond(0, [0.0, 4.0, 1.0, 2.0, 3.0], texts), respond(1, [4.0, 0.0, 3.0, 2.0, 1.0], texts)]
    table = method_table(responses, lambda response: response.target)
    assert (table["uniform"].p20, table["uniform"].p80) == (1, 1)
    assert table["uniform"].share.mean == pytest.approx(0.2)
    # Two of five tokens are kept, and one of these is the top one; both responses depend alike on their images.
    assert (table["vppo"].p20, table["vppo"].p80) == (0, 1)
    assert table["vppo"].share.mean == pytest.approx(0.5)
    # Digits are the second token and the last; the top token is a digit in the first response alone.
    assert (table["looking"].p20, table["looking"].p80) == (0, 2.5)
    assert table["looking"].share.mean == pytest.approx((0.5 + 0) / 2)


def test_tokens_without_a_target_and_responses_without_a_difference_are_left_out_of_the_share():
    targets = {0: [np.nan, 4.0, 1.0, 2.0], 1: [1.0, 1.0, 1.0, 1.0]}
    responses = [respond(number, [0.0, 4.0, 1.0, 2.0], ["a", " 3", " 4", "b"]) for number in targets]
    table = method_table(responses, lambda response: np.array(targets[response.question]))
    assert table["looking"].share.mean == pytest.approx(1 / 2) and table["uniform"].share.mean == pytest.approx(1 / 3)


def test_the_share_of_the_target_on_a_signals_top_tokens():
    # The top token by entropy has 3 of 4 in one response, and 0 of -1 + 1 in the other: 1.5 of 2 on the mean.
    responses = [
        respond(0, [3.0, 0, 1, 0], entropy=[9.0, 1, 1, 1]),
        respond(1, [-1.0, 0, 1, 0], entropy=[0.0, 1, 0, 0]),
    ]
    found = captured_share(responses, "entropy")
    assert found.mean == pytest.approx(0.75) and found.low == found.high == pytest.approx(0.75)
    responses = [respond(0, [2.0, 0], entropy=[1.0, 0]), respond(1, [2.0, 0], entropy=[0.0, 1])]
    assert captured_share(responses, "entropy") == pytest.approx((0.5, 0.0, 1.0))
    assert math.isnan(captured_share([respond(0, [0.5, -0.5])], "entropy").mean)


def test_words_at_both_ends_are_those_that_occur_often():
    texts = ["<think>", " 3", " x", "rare"]
    responses = [respond(0, [0.1, 0.9, 0.5, 0.2], texts[: 3 + (number == 0)]) for number in range(3)]
    responses = [
        respond(0, target[: len(r.text.token_texts)], r.text.token_texts)
        for r, target in zip(responses, [[0.1, 0.9, 0.5, 2.0]] * 3, strict=True)
    ]
    highest, lowest = words_at_both_ends(responses, "target")
    assert highest == ["3", "x", "<think>"] and lowest == ["<think>", "x", "3"]

"""Reward dependence with an engine of made-up continuations and the real graders, and what is said of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from pepo_rlhf.config import Config
from pepo_rlhf.core.signal import ResponseText
from pepo_rlhf.core.signals import BUILT_IN
from pepo_rlhf.credit.decisive import IMAGE_DEPENDENCE, Decisive, at_measured_positions, measure_decisions
from pepo_rlhf.credit.measure import agreement
from pepo_rlhf.credit.responses import Question, ScoredResponse
from pepo_rlhf.credit.text import reward_text
from pepo_rlhf.evaluation import engine

TEXTS = ["I", " see", " 3"]  # what the tokens 0, 1 and 2 stand for; token 3 is another number, 4 cannot be graded
TOKENS = [*TEXTS, " 4", " ?"]
REWARD = """
def same(response, label):
    if "?" in response:
        raise RuntimeError("no grade")
    return float(response.split()[-1] == label)
"""


class Engine:
    """After the first token alone half of the continuations end in the label, and a quarter before it."""

    closed = False

    def __init__(self, flags, processor, pixels, max_images):
        assert (flags.max_len, flags.dtype, max_images) == (64, "float32", 1)

    def continue_response(self, prompt, pictures, number, prefixes, num):
        assert (prompt, pictures, num) == ("How many?", ["picture"], 4)
        continuations = {0: [[0, 2], [0, 3], [3], [3]], 1: [[2], [3], [1, 2], [3]], 2: [[2], [2], [2], [4]]}
        return [continuations[len(prefix)] for prefix in prefixes]

    def close(self):
        Engine.closed = True


@pytest.fixture
def measured(monkeypatch, tmp_path):
    def measure(num_positions):
        monkeypatch.setattr(engine, "Engine", Engine)
        (tmp_path / "reward.py").write_text(REWARD)
        config = Config()
        config.reward.functions = [f"{tmp_path / 'reward.py'}:same"]
        config.data.max_len, config.ds.param_dtype = 64, "fp32"
        tokenizer = SimpleNamespace(
            batch_decode=lambda rows, **_: ["".join(TOKENS[token] for token in row) for row in rows]
        )
        processor = SimpleNamespace(tokenizer=tokenizer)
        text = ResponseText(TEXTS, "3", "How many?", "counting")
        dependence = np.array([0.0, 5.0, 1.0])
        signals = {name: np.array([3.0, 2.0, 1.0]) for name in BUILT_IN}
        response = ScoredResponse(0, [0, 1, 2], text, signals, dependence, dependence)
        question = Question("How many?", "3", "counting", ["picture"])
        decisive = Decisive(num_positions, 4)
        return [response], decisive, measure_decisions(config, processor, [question], [response], decisive)

    return measure


def test_advantages_by_hand(measured):
    """V is 1/4, 1/2, 1 (one of four has no grade) and, of the response itself, 1."""
    (response,), _, num_errors = measured(3)
    assert response.advantages.tolist() == [0.25, 0.5, 0.0] and num_errors == 1 and Engine.closed
    # The variance of one right of four is 1/4, and that of two is 1/3; of a mean a quarter of these.
    expected = [0.25**2 - 1 / 16 - 1 / 12, 0.5**2 - 1 / 12, 0.0]
    assert response.squares.tolist() == pytest.approx(expected)


def test_only_as_many_positions_as_asked_for_are_measured(measured):
    responses, *_ = measured(2)
    assert np.isnan(responses[0].advantages).sum() == np.isnan(responses[0].squares).sum() == 1
    (left,) = at_measured_positions(responses)
    places = np.flatnonzero(~np.isnan(responses[0].squares))
    assert left.text.token_texts == [TEXTS[place] for place in places] and left.token_ids == places.tolist()
    assert left.target.tolist() == responses[0].squares[places].tolist()
    assert left.signals[IMAGE_DEPENDENCE].tolist() == responses[0].target[places].tolist()


def test_where_nothing_decides_it_is_said(measured):
    responses, decisive, num_errors = measured(3)
    responses[0].squares[:] = 0.0
    text = reward_text(responses, decisive, num_errors)
    assert "no measured token decides about the reward" in text and "1 could not be graded" in text
    responses[0].squares[:] = np.nan
    assert reward_text(responses, decisive, num_errors) == text


def test_both_targets_are_compared(measured):
    responses, decisive, num_errors = measured(3)
    found = at_measured_positions(responses)
    back, shared = agreement(found, IMAGE_DEPENDENCE)
    assert (back.mean, shared.mean) == (1, 1), "the second token is the top one by both"
    text = reward_text(responses, decisive, num_errors)
    assert "1 responses could not be graded" in text
    line = next(line for line in text.splitlines() if line.startswith("first target "))
    # Both rank the tokens 1, 3, 2, and the top one has 1/6 of -1/12 + 1/6 + 0.
    assert line.split()[2::3] == ["1.00", "1.00", "2.00"]
    assert "Image dependence ranks reward-deciding tokens better than chance on this model: AUC 1.00" in text
    assert "Entropy ranks reward-deciding tokens no better than chance on this model: AUC 0.50 [0.50, 0.50]" in text

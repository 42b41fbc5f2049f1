"""The weightings with a softmax over a response's tokens: pepo, perception, entropy, additive."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.core.weighting import load_weighting


def weigh(method, similarity, entropy, mask, **options):
    return load_weighting(method, options)({"visual_similarity": similarity, "entropy": entropy}, mask)


def softmax(values):
    exponentials = [math.exp(value - max(values)) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def min_max(values):
    return [(value - min(values)) / max(max(values) - min(values), 1e-6) for value in values]


def formula(similarity, entropy, alpha, temperature, method):
    """The definition for one response's valid tokens, in float64 Python."""
    num_tokens = len(similarity)
    v, h = min_max(similarity), min_max(entropy)
    x = [a + b for a, b in zip(v, h, strict=True)]
    mean = sum(x) / num_tokens
    scores = {
        "pepo": [s * (1 + alpha * math.tanh(y - mean)) for s, y in zip(similarity, x, strict=True)],
        "perception": similarity,
        "entropy": h,
        "additive": x,
    }[method]
    return [num_tokens * share for share in softmax([score / temperature for score in scores])]


@st.composite
def batches(draw):
    batch, length = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    numbers = st.floats(-2, 2, width=32)
    scores = st.lists(st.lists(numbers, min_size=length, max_size=length), min_size=batch, max_size=batch)
    masks = st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=batch, max_size=batch)
    return torch.tensor(draw(scores)), torch.tensor(draw(scores)).abs(), torch.tensor(draw(masks))


@settings(max_examples=150, deadline=None)
@given(
    batch=batches(),
    alpha=st.floats(0, 2),
    temperature=st.floats(0.1, 5),
    method=st.sampled_from(["pepo", "perception", "entropy", "additive"]),
)
def test_equals_the_formula_wherever_the_valid_tokens_lie(batch, alpha, temperature, method):
    similarity, entropy, mask = batch
    weights = weigh(method, similarity, entropy, mask, alpha=alpha, temperature=temperature)
    for row in range(len(mask)):
        valid = mask[row]
        assert (weights[row, ~valid] == 0).all()
        if valid.any():
            scores = similarity[row, valid].tolist(), entropy[row, valid].tolist()
            expected = torch.tensor(formula(*scores, alpha, temperature, method)).double()
            torch.testing.assert_close(weights[row, valid].double(), expected, atol=1e-4, rtol=1e-4)


def test_pepo_by_hand():
    # v = (0, 1), h = (1, 0): x = (1, 1), its mean 1, so the gate is 1 and the weights are 2 softmax(VS).
    weights = weigh("pepo", torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.7, 0.2]]), torch.ones(1, 2), alpha=1.0)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 1.5]]))


def test_gate_raises_an_undecided_token_by_hand():
    # Equal similarity: v = 0 for both; h = (1, 0), x - mean = (0.5, -0.5).
    weights = weigh("pepo", torch.full((1, 2), 2.0), torch.tensor([[0.9, 0.1]]), torch.ones(1, 2), alpha=0.1)
    gap = 2 * 2.0 * 0.1 * math.tanh(0.5)
    assert (weights[0, 0] / weights[0, 1]).log().item() == pytest.approx(gap, rel=1e-4)


def test_perception_is_pepo_without_a_gate():
    batch = torch.rand(3, 6), torch.rand(3, 6), torch.rand(3, 6) < 0.8
    assert torch.equal(weigh("perception", *batch), weigh("pepo", *batch, alpha=0.0))

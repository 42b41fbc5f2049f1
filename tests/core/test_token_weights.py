import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.core import TOKEN_WEIGHTINGS, token_weights


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
    weights = token_weights(similarity, entropy, mask, alpha, temperature, method)
    assert weights.dtype == torch.float32
    for row in range(len(mask)):
        valid = mask[row]
        assert (weights[row, ~valid] == 0).all()
        if valid.any():
            expected = formula(
                similarity[row, valid].tolist(), entropy[row, valid].tolist(), alpha, temperature, method
            )
            torch.testing.assert_close(
                weights[row, valid].double(), torch.tensor(expected).double(), atol=1e-4, rtol=1e-4
            )


@settings(max_examples=60, deadline=None)
@given(batch=batches(), method=st.sampled_from(sorted(set(TOKEN_WEIGHTINGS) - {"high_entropy"})))
def test_weights_average_to_one_over_a_response(batch, method):
    similarity, entropy, mask = batch
    weights = token_weights(similarity, entropy, mask, method=method)
    counts = mask.sum(-1)
    torch.testing.assert_close(weights.sum(-1), counts.float(), atol=1e-5, rtol=1e-5)


def test_pepo_by_hand():
    # v = (0, 1), h = (1, 0): x = (1, 1), its mean 1, so the gate is 1 and the weights are 2 softmax(VS).
    weights = token_weights(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.7, 0.2]]), torch.ones(1, 2), alpha=1.0)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 1.5]]))


def test_gate_raises_an_undecided_token_by_hand():
    # Equal similarity: v = 0 for both; h = (1, 0), x - mean = (0.5, -0.5).
    weights = token_weights(torch.full((1, 2), 2.0), torch.tensor([[0.9, 0.1]]), torch.ones(1, 2), alpha=0.1)
    gap = 2 * 2.0 * 0.1 * math.tanh(0.5)
    assert (weights[0, 0] / weights[0, 1]).log().item() == pytest.approx(gap, rel=1e-4)


def test_perception_is_pepo_without_a_gate():
    similarity, entropy, mask = torch.rand(3, 6), torch.rand(3, 6), torch.rand(3, 6) < 0.8
    assert torch.equal(
        token_weights(similarity, entropy, mask, method="perception", alpha=0.7),
        token_weights(similarity, entropy, mask, method="pepo", alpha=0.0),
    )


def test_one_token_response_weighs_one():
    for method in set(TOKEN_WEIGHTINGS) - {"high_entropy"}:
        assert token_weights(torch.rand(1, 1), torch.rand(1, 1), torch.ones(1, 1), method=method).item() == 1.0


def test_constant_scores_give_even_weights():
    for method in set(TOKEN_WEIGHTINGS) - {"high_entropy"}:
        weights = token_weights(torch.full((2, 5), 0.3), torch.full((2, 5), 1.2), torch.ones(2, 5), method=method)
        torch.testing.assert_close(weights, torch.ones(2, 5))


def test_high_entropy_keeps_the_top_fifth_of_the_batch():
    # Ten valid tokens, 0..9 in some order over two rows: the two largest stay, wherever they are.
    entropy = torch.tensor([[9.0, 1, 2, 3, 4, 99], [5, 6, 7, 8, 0, 99]])
    mask = entropy < 99
    weights = token_weights(torch.zeros(2, 6), entropy, mask, method="high_entropy")
    assert weights.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]


def test_uniform_is_the_mask():
    mask = torch.rand(3, 4) < 0.5
    assert torch.equal(token_weights(torch.rand(3, 4), torch.rand(3, 4), mask, method="uniform"), mask.float())


def test_rows_without_valid_tokens_are_zero():
    mask = torch.tensor([[False, False], [True, True]])
    for method in TOKEN_WEIGHTINGS:
        assert token_weights(torch.rand(2, 2), torch.rand(2, 2), mask, method=method)[0].tolist() == [0, 0]


def test_half_precision_comes_out_as_float32():
    similarity, entropy, mask = torch.rand(2, 4).bfloat16(), torch.rand(2, 4).half(), torch.ones(2, 4)
    assert torch.equal(
        token_weights(similarity, entropy, mask), token_weights(similarity.float(), entropy.float(), mask)
    )


def test_permuting_tokens_permutes_weights():
    similarity, entropy, mask = torch.rand(2, 7), torch.rand(2, 7), torch.rand(2, 7) < 0.7
    order = torch.randperm(7)
    for method in set(TOKEN_WEIGHTINGS) - {"vgpo"}:  # which looks at positions
        torch.testing.assert_close(
            token_weights(similarity[:, order], entropy[:, order], mask[:, order], method=method),
            token_weights(similarity, entropy, mask, method=method)[:, order],
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_scores_matter_at_valid_tokens_only(bad):
    scores, mask = torch.rand(1, 3), torch.tensor([[True, True, False]])
    scores[0, 2] = bad
    assert torch.isfinite(token_weights(scores, scores, mask)).all()
    scores[0, 1] = bad
    with pytest.raises(ValueError, match="valid token 1 of row 0"):
        token_weights(scores, torch.rand(1, 3), mask)
    with pytest.raises(ValueError, match="entropy"):
        token_weights(torch.rand(1, 3), scores, mask)


def test_mistakes_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match="additive, entropy, high_entropy, pepo, perception, uniform, vgpo"):
        token_weights(ones, ones, ones, method="ppo")
    with pytest.raises(ValueError, match="temperature"):
        token_weights(ones, ones, ones, temperature=0)
    with pytest.raises(ValueError, match="one shape"):
        token_weights(ones, torch.ones(1, 3), ones)

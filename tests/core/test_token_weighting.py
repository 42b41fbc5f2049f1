"""What holds for every weighting: the checks around `weigh`, and properties of the weights."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.core import signals as core_signals
from pepo_rlhf.core.token_weighting import TokenWeighting
from pepo_rlhf.core.weighting import BUILT_IN, load_weighting

MEAN_ONE = sorted(set(BUILT_IN) - {"high_entropy", "tor", "vppo"})  # which drop tokens


def weigh(method, similarity, entropy, mask, **options):
    """With the size of the similarity for the signals of a second pass and of the text, which are not negative."""
    weighting = load_weighting(method, options)
    signals = {"visual_similarity": similarity, "entropy": entropy}
    signals |= dict.fromkeys(("image_dependence", "image_sensitivity", *weighting.response_signals), similarity.abs())
    return weighting(signals, mask)


@st.composite
def batches(draw):
    batch, length = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    numbers = st.floats(-2, 2, width=32)
    scores = st.lists(st.lists(numbers, min_size=length, max_size=length), min_size=batch, max_size=batch)
    masks = st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=batch, max_size=batch)
    return torch.tensor(draw(scores)), torch.tensor(draw(scores)).abs(), torch.tensor(draw(masks))


@settings(max_examples=60, deadline=None)
@given(batch=batches(), method=st.sampled_from(MEAN_ONE))
def test_weights_average_to_one_over_a_response(batch, method):
    mask = batch[2]
    weights = weigh(method, *batch)
    assert weights.dtype == torch.float32 and not weights[~mask].any()
    torch.testing.assert_close(weights.sum(-1), mask.sum(-1).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", MEAN_ONE)
def test_a_response_of_one_token_and_constant_signals_weigh_one(method):
    assert weigh(method, torch.rand(1, 1), torch.rand(1, 1), torch.ones(1, 1)).item() == 1.0
    weights = weigh(method, torch.full((2, 5), 0.3), torch.full((2, 5), 1.2), torch.ones(2, 5))
    torch.testing.assert_close(weights, torch.ones(2, 5))


@pytest.mark.parametrize("method", BUILT_IN)
def test_rows_without_valid_tokens_are_zero(method):
    mask = torch.tensor([[False, False], [True, True]])
    assert weigh(method, torch.rand(2, 2), torch.rand(2, 2), mask)[0].tolist() == [0, 0]
    assert not weigh(method, torch.rand(2, 2), torch.rand(2, 2), torch.zeros(2, 2)).any()


@pytest.mark.parametrize("method", sorted(set(BUILT_IN) - {"vgpo"}))  # which looks at positions
def test_permuting_tokens_permutes_weights(method):
    similarity, entropy, mask = torch.rand(2, 7), torch.rand(2, 7), torch.rand(2, 7) < 0.7
    order = torch.randperm(7)
    torch.testing.assert_close(
        weigh(method, similarity[:, order], entropy[:, order], mask[:, order]),
        weigh(method, similarity, entropy, mask)[:, order],
    )


@pytest.mark.parametrize("method", BUILT_IN)
def test_a_weighting_uses_the_signals_that_it_names_and_no_others(method):
    weighting = load_weighting(method, {})
    known = {*core_signals.BUILT_IN, *weighting.response_signals}
    assert set(weighting.signals) <= known
    signals = {name: torch.rand(3, 6) for name in known}
    mask = torch.rand(3, 6) < 0.8
    needed = {name: signals[name] for name in weighting.signals}
    assert torch.equal(weighting(needed, mask), weighting(signals, mask))
    for name in needed:
        with pytest.raises(ValueError, match=f"needs the signals {name}, which were not computed"):
            weighting({other: signals[other] for other in needed if other != name}, mask)


def test_half_precision_comes_out_as_float32():
    similarity, entropy, mask = torch.rand(2, 4).bfloat16(), torch.rand(2, 4).half(), torch.ones(2, 4)
    assert torch.equal(
        weigh("pepo", similarity, entropy, mask), weigh("pepo", similarity.float(), entropy.float(), mask)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_bad_scores_matter_at_valid_tokens_only(bad):
    scores, mask = torch.rand(1, 3), torch.tensor([[True, True, False]])
    scores[0, 2] = bad
    assert torch.isfinite(weigh("pepo", scores, scores, mask)).all()
    scores[0, 1] = bad
    with pytest.raises(ValueError, match="visual_similarity is .* at valid token 1 of row 0"):
        weigh("pepo", scores, torch.rand(1, 3), mask)
    with pytest.raises(ValueError, match="entropy is"):
        weigh("pepo", torch.rand(1, 3), scores, mask)


class Inverse(TokenWeighting):
    """Weights that are infinite where the entropy is 0."""

    signals = ("entropy",)

    def weigh(self, signals, mask):
        return 1 / signals["entropy"]


def test_what_a_weighting_returns_is_checked_too():
    weighting = Inverse(Inverse.Settings())
    mask = torch.tensor([[True, True, False]])
    assert weighting({"entropy": torch.tensor([[1.0, 2.0, 0.0]])}, mask).tolist() == [[1.0, 0.5, 0.0]]
    with pytest.raises(ValueError, match="the weight of Inverse is inf at valid token 1 of row 0"):
        weighting({"entropy": torch.tensor([[1.0, 0.0, 0.0]])}, mask)


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"entropy \(1, 3\) and mask \(1, 2\) must have one shape"):
        weigh("pepo", torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 2))

"""Image dependence and sensitivity against their definitions in float64."""

import math

import pytest
import torch

from pepo_rlhf.core import distribution
from pepo_rlhf.core.signals.image_dependence import image_dependence
from pepo_rlhf.core.signals.image_sensitivity import image_sensitivity


@pytest.fixture(params=[(1024, 1024), (3, 4), (2, 1)], ids=["one tile", "tiles with a rest", "one entry a tile"])
def tiles(request, monkeypatch):
    monkeypatch.setitem(distribution.TILE, "cpu", request.param)


def by_definition(states, perturbed, weight, tokens, temperature=1.0, cap=math.inf):
    logits = [each.double() @ weight.double().T for each in (states, perturbed)]
    if cap < math.inf:
        logits = [cap * (each / cap).tanh() for each in logits]
    p, q = ((each / temperature).log_softmax(-1) for each in logits)
    return (p.exp() * (p - q)).sum(-1), *(each[torch.arange(len(tokens)), tokens] for each in (p, q))


@pytest.mark.usefixtures("tiles")
def test_two_tokens_by_hand():
    # p = (3/4, 1/4) and q = (1/2, 1/2): KL = 3/4 log(3/2) + 1/4 log(1/2).
    true, perturbed = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    divergence, *log_probs = image_dependence(true, perturbed, torch.eye(2), torch.tensor([0]))
    assert divergence.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert [one.item() for one in log_probs] == pytest.approx([math.log(0.75), math.log(0.5)])
    assert image_sensitivity(*log_probs).item() == pytest.approx(math.log(1.5))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_equal_the_definition_in_float64(temperature, dtype):
    torch.manual_seed(0)
    true, perturbed, weight = (torch.randn(rows, 6).to(dtype) for rows in (7, 7, 11))
    tokens = torch.randint(11, (7,))
    found = image_dependence(true, perturbed, weight, tokens, temperature)
    assert {one.dtype for one in found} == {torch.float32}
    exact = by_definition(true, perturbed, weight, tokens, temperature)
    torch.testing.assert_close(tuple(one.double() for one in found), exact, atol=3e-6, rtol=3e-6)


def test_logits_are_capped_as_the_model_caps_them():
    torch.manual_seed(0)
    true, perturbed, weight = (torch.randn(rows, 6) for rows in (7, 7, 11))
    tokens = torch.randint(11, (7,))
    found = image_dependence(true, perturbed, weight, tokens, 0.7, cap=1.5)
    exact = by_definition(true, perturbed, weight, tokens, 0.7, cap=1.5)
    torch.testing.assert_close(tuple(one.double() for one in found), exact, atol=3e-6, rtol=3e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_image_gives_nothing_and_a_small_change_a_small_number(dtype):
    """Logits rounded to bfloat16 would differ by themselves: at logits of 20 by 0.06, which is 0.001 nats."""
    torch.manual_seed(0)
    weight, true = torch.randn(500, 32).to(dtype), torch.randn(9, 32).mul(4).to(dtype)
    tokens = torch.randint(500, (9,))
    divergence, *log_probs = image_dependence(true, true, weight, tokens)
    assert divergence.max() < 1e-5 and image_sensitivity(*log_probs).max() < 1e-5
    near = true.clone()
    near[:, 0] += 0.0625
    torch.testing.assert_close(
        image_dependence(true, near, weight, tokens)[0].double(),
        by_definition(true, near, weight, tokens)[0],
        atol=1e-5,
        rtol=1e-3,
    )


@pytest.mark.parametrize("shift", [-1000.0, 1000.0])
def test_logits_far_from_zero_do_not_overflow(shift):
    true, perturbed = torch.tensor([[0.0, 1.0, 30.0, -30.0]]) + shift, torch.tensor([[5.0, 1.0, -30.0, 2.0]]) - shift
    found = image_dependence(true, perturbed, torch.eye(4), torch.tensor([2]))
    exact = by_definition(true, perturbed, torch.eye(4), torch.tensor([2]))
    torch.testing.assert_close(tuple(one.double() for one in found), exact, rtol=1e-4, atol=1e-4)


def test_no_tokens_give_nothing():
    found = image_dependence(torch.randn(0, 3), torch.randn(0, 3), torch.randn(4, 3), torch.zeros(0, dtype=torch.long))
    assert [one.shape for one in found] == [(0,)] * 3

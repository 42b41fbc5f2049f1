import math

import pytest
import torch

from pepo_rlhf.core import distribution, fusion
from pepo_rlhf.core.distribution import log_probs_and_entropy


@pytest.fixture(params=[(1024, 1024), (3, 4), (2, 1)], ids=["one tile", "tiles with a rest", "one entry a tile"])
def tiles(request, monkeypatch):
    monkeypatch.setitem(distribution.TILE, "cpu", request.param)


def from_logits(logits, tokens, temperature=1.0):
    """The head is the identity: hidden states are the logits."""
    return log_probs_and_entropy(logits, torch.eye(logits.shape[1], dtype=logits.dtype), tokens, temperature)


def by_definition(hidden_states, weight, tokens, temperature, cap=None):
    logits = hidden_states.double() @ weight.double().T
    if cap is not None:
        logits = cap * (logits / cap).tanh()
    log_probs = (logits / temperature).log_softmax(-1)
    return log_probs[range(len(tokens)), tokens], -(log_probs.exp() * log_probs).sum(-1)


@pytest.mark.usefixtures("tiles")
def test_even_distribution_has_log_of_its_size():
    log_probs, entropy = from_logits(torch.zeros(3, 8), torch.tensor([0, 5, 7]))
    torch.testing.assert_close(log_probs, torch.full((3,), -math.log(8)))
    torch.testing.assert_close(entropy, torch.full((3,), math.log(8)))


@pytest.mark.usefixtures("tiles")
def test_two_token_distribution_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    log_probs, entropy = from_logits(logits, torch.tensor([1]))
    assert log_probs.item() == pytest.approx(math.log(1 / 4))
    assert entropy.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    log_probs, _ = from_logits(logits, torch.tensor([1]), temperature=0.5)  # weights 9 and 1
    assert log_probs.item() == pytest.approx(math.log(1 / 10))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
def test_logits_far_from_zero_do_not_overflow(shift):
    logits = torch.tensor([[0.0, 1.0, 30.0, -30.0, 2.0]]) + shift
    log_probs, entropy = from_logits(logits, torch.tensor([1]))
    exact = by_definition(logits, torch.eye(5), torch.tensor([1]), 1.0)
    torch.testing.assert_close((log_probs.double(), entropy.double()), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("cap", [None, 1.5])  # beyond which half of the logits lie
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_equal_the_definition_in_float64(temperature, cap):
    torch.manual_seed(0)
    hidden_states, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    tokens, gradients = torch.randint(11, (7,)), torch.randn(2, 7)
    results = []
    for function in (log_probs_and_entropy, by_definition):
        pair = function(hidden_states, weight, tokens, temperature, cap=cap)
        loss = (torch.stack(pair) * gradients).sum()
        results.append([*pair, *torch.autograd.grad(loss, (hidden_states, weight))])
    for ours, exact in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), exact.double(), atol=2e-6, rtol=2e-6)


@pytest.mark.usefixtures("tiles")
def test_without_entropy_log_probs_and_gradients_are_the_same():
    torch.manual_seed(0)
    hidden_states, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    tokens, gradient = torch.randint(11, (7,)), torch.randn(7)
    log_probs, entropy = log_probs_and_entropy(hidden_states, weight, tokens, 0.7, with_entropy=False)
    assert entropy is None
    exact, _ = by_definition(hidden_states, weight, tokens, 0.7)
    ours = torch.autograd.grad((log_probs * gradient).sum(), (hidden_states, weight))
    expected = torch.autograd.grad((exact * gradient).sum(), (hidden_states, weight))
    torch.testing.assert_close((log_probs.double(), *ours), (exact, *expected), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize(("with_entropy", "cap"), [(True, None), (False, None), (True, 1.5)])
def test_compiled_code_gives_the_same_for_all_shapes(with_entropy, cap, monkeypatch):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    monkeypatch.setitem(distribution.TILE, device, (6, 8))

    def values_and_gradients(num_tokens, vocabulary, hidden_size):
        torch.manual_seed(num_tokens)
        hidden_states, weight = (
            torch.randn(length, hidden_size, device=device).requires_grad_() for length in (num_tokens, vocabulary)
        )
        tokens = torch.randint(vocabulary, (num_tokens,), device=device)
        log_probs, entropy = log_probs_and_entropy(hidden_states, weight, tokens, 0.7, with_entropy, cap)
        loss = log_probs.sum() + (entropy.square().sum() if with_entropy else 0)
        return [log_probs, *([entropy] if with_entropy else []), *torch.autograd.grad(loss, (hidden_states, weight))]

    shapes = [(9, 20, 4), (14, 30, 6), (5, 37, 5)]  # tiles of many sizes
    expected = [values_and_gradients(*shape) for shape in shapes]
    monkeypatch.setattr(fusion, "FUSE_FROM", 0)
    actual = [values_and_gradients(*shapes[0])]
    with torch.compiler.set_stance("fail_on_recompile"):
        actual += [values_and_gradients(*shape) for shape in shapes[1:]]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_a_frozen_head_gets_no_gradient():
    hidden_states, weight = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    log_probs, _ = log_probs_and_entropy(hidden_states, weight, torch.tensor([0, 3]))
    log_probs.sum().backward()
    assert hidden_states.grad.abs().sum() > 0 and weight.grad is None


def test_no_tokens_give_nothing():
    hidden_states, weight = torch.randn(0, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    log_probs, entropy = log_probs_and_entropy(hidden_states, weight, torch.zeros(0, dtype=torch.long))
    assert log_probs.shape == entropy.shape == (0,)
    (log_probs.sum() + entropy.sum()).backward()
    assert (weight.grad == 0).all()


def test_products_alone_are_taken_in_bfloat16():
    torch.manual_seed(0)
    hidden_states, weight, tokens = torch.randn(3, 16).bfloat16(), torch.randn(200, 16).bfloat16(), torch.arange(3)
    logits = (hidden_states @ weight.T).float()
    for low, full in zip(
        log_probs_and_entropy(hidden_states, weight, tokens), from_logits(logits, tokens), strict=True
    ):
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, full)


def test_gradients_in_bfloat16_are_as_close_as_those_of_all_logits_at_once(monkeypatch):
    # Nearly even distributions over 256 tiles: each adds about 1/256 of the sum, which bfloat16 would round away.
    monkeypatch.setitem(distribution.TILE, "cpu", (16, 16))
    hidden_states, weight = torch.randn(24, 32).mul(0.05).bfloat16(), torch.randn(4096, 32).add(2).bfloat16()
    tokens, upstream = torch.randint(4096, (24,)), torch.rand(24)

    def gradients(log_probs_of, dtype):
        inputs = [tensor.clone().to(dtype).requires_grad_() for tensor in (hidden_states, weight)]
        (log_probs_of(*inputs) * upstream).sum().backward()
        return [tensor.grad.double() for tensor in inputs]

    def at_once(hidden_states, weight):
        logits = torch.nn.functional.linear(hidden_states, weight)
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        return logits.log_softmax(dim=-1)[torch.arange(24), tokens]

    exact = gradients(at_once, torch.float64)
    stock = gradients(at_once, torch.bfloat16)
    ours = gradients(lambda *inputs: log_probs_and_entropy(*inputs, tokens, with_entropy=False)[0], torch.bfloat16)
    for best, reference, actual in zip(exact, stock, ours, strict=True):
        assert (actual - best).norm() <= 1.5 * (reference - best).norm()


@pytest.mark.usefixtures("tiles")
def test_an_entropy_that_is_only_looked_at_changes_no_gradient():
    hidden, weight, tokens = torch.randn(5, 3), torch.randn(7, 3), torch.tensor([0, 6, 3, 3, 1])
    gradients = []
    for with_entropy in (False, True):
        leaves = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        log_probs, entropy = log_probs_and_entropy(*leaves, tokens, 0.7, with_entropy)
        assert not with_entropy or entropy.detach().min() > 0
        gradients.append(torch.autograd.grad(log_probs.exp().sum(), leaves))
    for without, with_entropy in zip(*gradients, strict=True):
        assert torch.equal(without, with_entropy)


@pytest.mark.usefixtures("tiles")
def test_the_entropy_alone_has_a_gradient():
    hidden = torch.randn(5, 3, requires_grad=True)
    weight, tokens = torch.randn(7, 3), torch.tensor([0, 6, 3, 3, 1])
    _, entropy = log_probs_and_entropy(hidden, weight, tokens)
    _, exact = by_definition(hidden, weight, tokens, 1.0)
    found, expected = (torch.autograd.grad(values.sum(), hidden)[0] for values in (entropy, exact))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)

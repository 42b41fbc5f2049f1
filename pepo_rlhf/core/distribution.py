"""What a next-token distribution says of the token drawn from it: its log-prob, and how undecided the policy was.

Logits are made a tile at a time, some tokens by some of the vocabulary, and used up at once: N x V never exist.
The running maximum and sums are those of online softmax (arXiv 1805.02867); gradients come from tiles made anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Most tokens and vocabulary entries of a tile: on a CPU one that its caches hold, on a GPU one whose kernels take
# longer than their launch (`python -m benchmarks head`).
TILE = {"cpu": (1024, 1024), "cuda": (4096, 16384)}
_LOWEST = -1e30  # below every logit; finite, as differences of two infinities are not numbers


def log_probs_and_entropy(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float = 1.0,
    with_entropy: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Of the distributions softmax(hidden_states @ weight.T / temperature); differentiable.

    Products are taken in the dtype of the arguments, as a linear layer does, everything else in float32. Beyond its
    arguments and their gradients it holds a few tiles.

    Args:
        hidden_states: [N, D].
        weight: [V, D], of a language-model head without bias.
        tokens: [N], the tokens that were drawn.
        temperature: the sampling temperature.
        with_entropy: where nothing asks for it, forward and backward pass over each tile less often without.

    Returns:
        log_probs [N] of the tokens and entropy [N] of the distributions (else None), in nats, float32.
    """
    return _LogProbsAndEntropy.apply(hidden_states, weight, tokens, temperature, with_entropy)


class _LogProbsAndEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_states, weight, tokens, temperature, with_entropy):
        rows = [
            _reduce(hidden_states[chunk], weight, tokens[chunk], temperature, with_entropy)
            for chunk in _slices(len(tokens), TILE[weight.device.type][0])
        ]
        columns = zip(*rows, strict=True) if rows else [(hidden_states.new_zeros(0, dtype=torch.float32),)] * 3
        log_probs, entropy, log_sums = (torch.cat(column) for column in columns)
        ctx.save_for_backward(hidden_states, weight, tokens, log_sums, entropy)
        ctx.temperature, ctx.with_entropy = temperature, with_entropy
        return log_probs, entropy if with_entropy else None

    @staticmethod
    def backward(ctx, log_prob_gradient, entropy_gradient):
        hidden_states, weight, tokens, log_sums, entropy = ctx.saved_tensors
        num_tokens, num_entries = TILE[weight.device.type]
        hidden_gradient = torch.zeros_like(hidden_states)
        weight_gradient = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for chunk in _slices(len(tokens), num_tokens):
            hidden, of_log_prob = hidden_states[chunk], log_prob_gradient[chunk]
            total = torch.zeros(
                hidden.shape, dtype=torch.float32, device=hidden.device
            )  # bfloat16 would round per tile
            for block in _slices(len(weight), num_entries):
                log_probs = _logits(hidden, weight[block], ctx.temperature) - log_sums[chunk, None]
                # d log_prob / d logit is [token] - p, and d entropy / d logit is -p (log p + entropy).
                factor = of_log_prob[:, None]
                if ctx.with_entropy:
                    of_entropy = entropy_gradient[chunk, None]
                    factor = (log_probs + entropy[chunk, None]).mul_(of_entropy).add_(factor)
                gradient = log_probs.exp_().neg_().mul_(factor)
                inside, column = _within(tokens[chunk], block)
                gradient.scatter_add_(1, column[:, None], torch.where(inside, of_log_prob, 0)[:, None])
                gradient = gradient.div_(ctx.temperature).to(weight.dtype)
                total += gradient @ weight[block]
                if weight_gradient is not None:
                    weight_gradient[block] += gradient.T @ hidden
            hidden_gradient[chunk] = total
        return hidden_gradient, weight_gradient, None, None, None


def _reduce(hidden_states, weight, tokens, temperature, with_entropy) -> tuple[torch.Tensor, ...]:
    """Log-probs, entropy (without it something else) and log of the sum of exponentials, [n] each."""
    maximum = torch.full(tokens.shape, _LOWEST, dtype=torch.float32, device=tokens.device)
    chosen, exponentials, products = (torch.zeros_like(maximum) for _ in range(3))
    for block in _slices(len(weight), TILE[weight.device.type][1]):
        logits = _logits(hidden_states, weight[block], temperature)
        inside, column = _within(tokens, block)
        chosen = torch.where(inside, logits.gather(1, column[:, None])[:, 0], chosen)
        previous, maximum = maximum, torch.maximum(maximum, logits.amax(dim=-1))
        logits -= maximum[:, None]
        tile = logits.exp()
        # Sums over e^(z - maximum) and e^(z - maximum) (z - maximum), moved to the new maximum.
        shrunk = (previous - maximum).exp()
        if with_entropy:
            products = shrunk * (products + exponentials * (previous - maximum)) + torch.linalg.vecdot(tile, logits)
        exponentials = shrunk * exponentials + tile.sum(dim=-1)
    log_sums = maximum + exponentials.log()
    return chosen - log_sums, exponentials.log() - products / exponentials, log_sums


def _logits(hidden_states: torch.Tensor, weight: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden_states, weight).float()
    return logits if temperature == 1 else logits.div_(temperature)


def _within(tokens: torch.Tensor, block: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """[n] bool, True at tokens that lie in a block of the vocabulary, and their columns there; any column elsewhere.

    Of fixed shape: a GPU would have to be waited for to know how many lie inside.
    """
    inside = (tokens >= block.start) & (tokens < block.stop)
    return inside, torch.where(inside, tokens - block.start, 0)


def _slices(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))

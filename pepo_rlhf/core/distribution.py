"""Log-prob of a token and entropy of the distribution that it was drawn from, from hidden states and the head's weight.

Logits are made a tile at a time, some tokens by some of the vocabulary, and used up at once: N x V never exist.
The running maximum and sums are those of online softmax (arXiv 1805.02867); gradients come from tiles made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from pepo_rlhf.core.fusion import fused

# Most tokens and vocabulary entries of a tile: on a CPU one that its caches hold, on a GPU one whose kernels take
# longer than their launch (`python -m benchmarks head`).
TILE = {"cpu": (1024, 1024), "cuda": (4096, 32768)}
LOWEST = -1e30  # below every logit; finite, as differences of two infinities are not numbers


def log_probs_and_entropy(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float = 1.0,
    with_entropy: bool = True,
    cap: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return log-probs and entropy under softmax(hidden_states @ weight.T / temperature); differentiable.

    Products are taken in the dtype of the arguments, as a linear layer does, everything else in float32. Beyond its
    arguments and their gradients it holds a tile, two while it runs backward; in float32 a few of small computations,
    which are not compiled (`fused`), and none of others.

    Args:
        hidden_states: [N, D].
        weight: [V, D], of a language-model head without bias.
        tokens: [N], the tokens that were drawn.
        temperature: the sampling temperature.
        with_entropy: whether to compute the entropy, for which forward and backward read each tile more often.
        cap: logits z are cap tanh(z / cap) before the temperature, as in Gemma 2 and 4; None leaves them.

    Returns:
        log_probs [N] of the tokens and entropy [N] of the distributions (else None), in nats, float32.
    """
    arguments = (hidden_states, weight, tokens, temperature, with_entropy, cap)
    result: tuple[torch.Tensor, torch.Tensor | None]
    result = _LogProbsAndEntropy.apply(*arguments)  # type: ignore[no-untyped-call]  # torch leaves `apply` untyped
    return result


class _LogProbsAndEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        tokens: torch.Tensor,
        temperature: float,
        with_entropy: bool,
        cap: float | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        rows = [
            _reduce(hidden_states[chunk], weight, tokens[chunk], temperature, with_entropy, cap)
            for chunk in slices(len(tokens), TILE[weight.device.type][0])
        ]
        columns = zip(*rows, strict=True) if rows else [(hidden_states.new_zeros(0, dtype=torch.float32),)] * 3
        log_probs, entropy, log_sums = (torch.cat(column) for column in columns)
        ctx.save_for_backward(hidden_states, weight, tokens, log_sums, entropy)
        ctx.temperature, ctx.with_entropy, ctx.cap = temperature, with_entropy, cap
        ctx.set_materialize_grads(False)  # the entropy's is None where it is only looked at, which saves its part
        return log_probs, entropy if with_entropy else None

    @staticmethod
    def backward(
        ctx: Any, log_prob_gradient: torch.Tensor | None, entropy_gradient: torch.Tensor | None
    ) -> tuple[Any, ...]:
        hidden_states, weight, tokens, log_sums, entropy = ctx.saved_tensors
        if log_prob_gradient is None:
            log_prob_gradient = torch.zeros_like(log_sums)
        num_tokens, num_entries = TILE[weight.device.type]
        hidden_gradient = torch.zeros_like(hidden_states)
        weight_gradient = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for chunk in slices(len(tokens), num_tokens):
            hidden = hidden_states[chunk]
            of_token = [log_sums[chunk], log_prob_gradient[chunk]]
            if ctx.with_entropy and entropy_gradient is not None:
                of_token += [entropy[chunk], entropy_gradient[chunk]]
            # In float32: bfloat16 would round per tile.
            total = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
            gradient_of_tile = fused(_gradient_of_tile, len(hidden) * len(weight))
            for block in slices(len(weight), num_entries):
                gradient = gradient_of_tile(
                    torch.nn.functional.linear(hidden, weight[block]),
                    tokens[chunk] - block.start,
                    ctx.temperature,
                    ctx.cap,
                    *of_token,
                )
                total += gradient @ weight[block]
                if weight_gradient is not None:
                    weight_gradient[block].addmm_(gradient.T, hidden)
                del gradient  # before the next tile: two are alive at most
            hidden_gradient[chunk] = total
        return hidden_gradient, weight_gradient, None, None, None, None


def _reduce(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float,
    with_entropy: bool,
    cap: float | None,
) -> tuple[torch.Tensor, ...]:
    """Return log-probs, entropy (unless `with_entropy`, meaningless) and log of the sum of exponentials, [n] each."""
    maximum = torch.full(tokens.shape, LOWEST, dtype=torch.float32, device=tokens.device)
    chosen, exponentials, products = (torch.zeros_like(maximum) for _ in range(3))
    add_tile = fused(_add_tile, len(tokens) * len(weight))
    for block in slices(len(weight), TILE[weight.device.type][1]):
        maximum, chosen, exponentials, products = add_tile(
            torch.nn.functional.linear(hidden_states, weight[block]),
            tokens - block.start,
            temperature,
            with_entropy,
            cap,
            maximum,
            chosen,
            exponentials,
            products,
        )
    log_sums = maximum + exponentials.log()
    return chosen - log_sums, exponentials.log() - products / exponentials, log_sums


def _add_tile(
    logits: torch.Tensor,
    columns: torch.Tensor,
    temperature: float,
    with_entropy: bool,
    cap: float | None,
    maximum: torch.Tensor,
    chosen: torch.Tensor,
    exponentials: torch.Tensor,
    products: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Return the last four, [n] each, after one more tile: its logits [n, v] and the tokens' columns [n] in it."""
    logits = capped(logits, cap) / temperature
    inside = (columns >= 0) & (columns < logits.shape[1])
    chosen = torch.where(inside, logits.gather(1, torch.where(inside, columns, 0)[:, None])[:, 0], chosen)
    previous, maximum = maximum, torch.maximum(maximum, logits.amax(dim=-1))
    logits = logits - maximum[:, None]
    tile = logits.exp()
    # Sums over e^(z - maximum) and e^(z - maximum) (z - maximum), moved to the new maximum.
    shrunk = (previous - maximum).exp()
    if with_entropy:
        products = shrunk * (products + exponentials * (previous - maximum)) + (tile * logits).sum(dim=-1)
    exponentials = shrunk * exponentials + tile.sum(dim=-1)
    return maximum, chosen, exponentials, products


def _gradient_of_tile(
    logits: torch.Tensor,
    columns: torch.Tensor,
    temperature: float,
    cap: float | None,
    log_sums: torch.Tensor,
    log_prob_gradient: torch.Tensor,
    entropy: torch.Tensor | None = None,
    entropy_gradient: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the gradient [n, v] of a tile's logits [n, v], in their dtype; `columns` are the tokens' places in it."""
    capped_logits = capped(logits, cap)
    log_probs = capped_logits / temperature - log_sums[:, None]
    # d log_prob / d logit is [token] - p, and d entropy / d logit is -p (log p + entropy).
    factor = log_prob_gradient[:, None]
    if entropy is not None and entropy_gradient is not None:
        factor = factor + entropy_gradient[:, None] * (log_probs + entropy[:, None])
    is_token = torch.arange(logits.shape[1], device=logits.device) == columns[:, None]
    gradient = torch.where(is_token, log_prob_gradient[:, None], 0.0) - log_probs.exp() * factor
    if cap is not None:
        gradient = gradient * (1 - (capped_logits / cap) ** 2)  # the derivative of tanh
    return (gradient / temperature).to(logits.dtype)


def capped(logits: torch.Tensor, cap: float | None) -> torch.Tensor:
    """Return logits in float32, capped if there is a cap."""
    return logits.float() if cap is None else cap * torch.tanh(logits.float() / cap)


def slices(length: int, size: int) -> Iterator[slice]:
    """Return the slices of a length, of `size` each but for the last."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))

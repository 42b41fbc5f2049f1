"""Image dependence: how much the image decides about a token, by taking the image away.

S_t = KL(p(. | true image) || p(. | perturbed image)), over the whole vocabulary at the sampling temperature, for the
same prompt and response (equation 3 of VPPO, arXiv 2510.09285). It costs a second forward pass. Its logits are made a
tile at a time and the true ones are made again beside them, so that N x V never exist.
"""

from __future__ import annotations

import torch

from pepo_rlhf.core.distribution import LOWEST, TILE, capped, slices
from pepo_rlhf.core.fusion import fused
from pepo_rlhf.core.signal import Signal

SIGNAL = Signal(meaning="KL of the next-token distribution from that under a perturbed image", perturbs_images=True)


def image_dependence(
    hidden_states: torch.Tensor,
    perturbed_states: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float = 1.0,
    cap: float | None = None,
) -> tuple[torch.Tensor, ...]:
    """Return the KL of the true distributions from the perturbed ones, and the tokens' log-probs under both.

    Everything is computed in float32 whatever comes in: rounded logits of two passes would differ by themselves, and
    their KL would have a floor far above that of tokens that do not depend on the image. Without gradients.

    Args:
        hidden_states, perturbed_states: [N, D], of the same positions of two passes.
        weight: [V, D], of a language-model head without bias.
        tokens: [N], the tokens that were drawn.
        temperature: the sampling temperature.
        cap: as `log_probs_and_entropy`.

    Returns:
        KL, log-probs under the true and under the perturbed distributions, [N] each, in nats, float32.
    """
    num_tokens = TILE[weight.device.type][0]
    parts = [
        _reduce(hidden_states[chunk], perturbed_states[chunk], weight, tokens[chunk], temperature, cap)
        for chunk in slices(len(tokens), num_tokens)
    ]
    if not parts:
        return (hidden_states.new_zeros(0, dtype=torch.float32),) * 3
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


@torch.no_grad()
def _reduce(
    hidden_states: torch.Tensor,
    perturbed_states: torch.Tensor,
    weight: torch.Tensor,
    tokens: torch.Tensor,
    temperature: float,
    cap: float | None,
) -> tuple[torch.Tensor, ...]:
    lowest = torch.full(tokens.shape, LOWEST, dtype=torch.float32, device=tokens.device)
    zero = torch.zeros_like(lowest)
    sums = (lowest, zero, zero, zero, lowest, zero, zero)
    add_tile = fused(_add_tile, len(tokens) * len(weight))
    for block in slices(len(weight), TILE[weight.device.type][1]):
        logits = capped(_product(hidden_states, weight[block]), cap) / temperature
        perturbed = capped(_product(perturbed_states, weight[block]), cap) / temperature
        sums = add_tile(logits, perturbed, tokens - block.start, *sums)
    maximum, exponentials, chosen, products, perturbed_maximum, perturbed_exponentials, perturbed_chosen = sums
    log_sums = maximum + exponentials.log()
    perturbed_log_sums = perturbed_maximum + perturbed_exponentials.log()
    # sum p (log p - log q), with log p = z - log_sums: the mean of z - z' under p, and the two normalisers.
    divergence = products / exponentials - log_sums + perturbed_log_sums
    return divergence.clamp(min=0.0), chosen - log_sums, perturbed_chosen - perturbed_log_sums


def _product(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return states @ weight.T in float32, of which a GPU multiplies bfloat16 as it is and adds up in float32."""
    if states.dtype == torch.float32:
        return states @ weight.T
    if states.is_cuda:
        return torch.mm(states, weight.T, out_dtype=torch.float32)
    return states.float() @ weight.float().T


def _add_tile(
    logits: torch.Tensor,
    perturbed: torch.Tensor,
    columns: torch.Tensor,
    maximum: torch.Tensor,
    exponentials: torch.Tensor,
    chosen: torch.Tensor,
    products: torch.Tensor,
    perturbed_maximum: torch.Tensor,
    perturbed_exponentials: torch.Tensor,
    perturbed_chosen: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Return the last seven, [n] each, after one more tile of both logits [n, v]; `columns` [n] are the tokens' in it.

    Of the true logits z these are the running maximum, the sum of e^(z - maximum), the token's own and the sum of
    e^(z - maximum) (z - z'); of the perturbed z' the maximum, the sum, and the token's own.
    """
    previous, maximum = maximum, torch.maximum(maximum, logits.amax(dim=-1))
    shrunk, tile = (previous - maximum).exp(), (logits - maximum[:, None]).exp()
    products = shrunk * products + (tile * (logits - perturbed)).sum(dim=-1)
    exponentials = shrunk * exponentials + tile.sum(dim=-1)
    previous, perturbed_maximum = perturbed_maximum, torch.maximum(perturbed_maximum, perturbed.amax(dim=-1))
    perturbed_exponentials = (previous - perturbed_maximum).exp() * perturbed_exponentials
    perturbed_exponentials = perturbed_exponentials + (perturbed - perturbed_maximum[:, None]).exp().sum(dim=-1)
    inside = (columns >= 0) & (columns < logits.shape[1])
    place = torch.where(inside, columns, 0)[:, None]
    chosen = torch.where(inside, logits.gather(1, place)[:, 0], chosen)
    perturbed_chosen = torch.where(inside, perturbed.gather(1, place)[:, 0], perturbed_chosen)
    return maximum, exponentials, chosen, products, perturbed_maximum, perturbed_exponentials, perturbed_chosen

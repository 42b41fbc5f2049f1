"""Token weights: how a response's advantage is spread over its tokens. One registered function a method."""

from __future__ import annotations

from collections.abc import Callable

import torch

# similarity, entropy [B, T] float32 (0 at invalid tokens), mask [B, T] bool, settings -> weights [B, T], 0 at invalid
TokenWeighting = Callable[..., torch.Tensor]
TOKEN_WEIGHTINGS: dict[str, TokenWeighting] = {}
UNSCHEDULED = {"high_entropy", "vgpo"}  # methods that hold from the first step on, whatever the training progress
_EPSILON = 1e-6  # floor of the min-max range, as in the authors' code


def token_weights(
    similarity: torch.Tensor,
    entropy: torch.Tensor,
    mask: torch.Tensor,
    alpha: float = 0.05,
    temperature: float = 1.0,
    method: str = "pepo",
    top_fraction: float = 0.2,
) -> torch.Tensor:
    """Token weights w of a batch of responses.

    Args:
        similarity: [B, T] visual similarity of each token.
        entropy: [B, T] entropy in nats of the distribution that each token was drawn from.
        mask: [B, T] bool, True at valid response tokens.
        alpha: strength of the gate (pepo), or of the compensation (vgpo).
        temperature: of the softmax over a response's tokens (pepo, perception, entropy, additive).
        method: a name in TOKEN_WEIGHTINGS.
        top_fraction: share of the batch's valid tokens that high_entropy keeps, or of a response's late tokens that
            vgpo compensates.

    Returns:
        [B, T] float32, 0 at invalid tokens. The mean over a row's valid tokens is 1, except for high_entropy, a
        0/1 mask over the batch. Rows without a valid token are all 0.

    Raises:
        ValueError: for an unknown method, a temperature that is not positive, shapes that differ, or a NaN or
            infinity at a valid token.
    """
    if method not in TOKEN_WEIGHTINGS:
        raise ValueError(f"token weighting {method!r} is unknown; choose one of {', '.join(sorted(TOKEN_WEIGHTINGS))}")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if not similarity.shape == entropy.shape == mask.shape:
        raise ValueError(
            f"similarity {tuple(similarity.shape)}, entropy {tuple(entropy.shape)} and mask {tuple(mask.shape)} "
            "must have one shape"
        )
    mask = mask.bool()
    return TOKEN_WEIGHTINGS[method](
        _valid(similarity, mask, "similarity"),
        _valid(entropy, mask, "entropy"),
        mask,
        alpha=alpha,
        temperature=temperature,
        top_fraction=top_fraction,
    )


def register(name: str) -> Callable[[TokenWeighting], TokenWeighting]:
    """Adds a token weighting under `name`: a function of similarity, entropy, mask and keyword settings."""

    def add(weighting: TokenWeighting) -> TokenWeighting:
        TOKEN_WEIGHTINGS[name] = weighting
        return weighting

    return add


@register("pepo")
def _pepo(similarity, entropy, mask, *, alpha, temperature, **_):
    fused = _min_max(similarity, mask) + _min_max(entropy, mask)
    mean = fused.sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True).clamp(min=1)
    gate = 1.0 + alpha * torch.tanh(fused - mean)
    return _spread(similarity * gate / temperature, mask)


@register("perception")
def _perception(similarity, entropy, mask, *, temperature, **_):
    return _spread(similarity / temperature, mask)


@register("entropy")
def _entropy(similarity, entropy, mask, *, temperature, **_):
    return _spread(_min_max(entropy, mask) / temperature, mask)


@register("additive")
def _additive(similarity, entropy, mask, *, temperature, **_):
    return _spread((_min_max(similarity, mask) + _min_max(entropy, mask)) / temperature, mask)


@register("high_entropy")
def _high_entropy(similarity, entropy, mask, *, top_fraction, **_):
    """Tokens at or above the (1 - top_fraction) quantile of the whole batch's entropies (arXiv 2506.01939)."""
    if not 0 < top_fraction <= 1:
        raise ValueError(f"top_fraction must lie in (0, 1], got {top_fraction}")
    if not mask.any():
        return torch.zeros_like(entropy)
    # Sorted by hand: torch.quantile refuses more than 2^24 values, which 1000 long responses exceed.
    values = entropy[mask].sort().values
    position = (1.0 - top_fraction) * (len(values) - 1)
    lower, upper = int(position), min(int(position) + 1, len(values) - 1)
    threshold = torch.lerp(values[lower], values[upper], position - lower)
    return ((entropy >= threshold) & mask).float()


@register("vgpo")
def _vgpo(similarity, entropy, mask, *, alpha, top_fraction, **_):
    """Visual focus with compensation of late tokens: the reweighting inside a response of VGPO (arXiv 2604.09349).

    w_t = 1 + s_t - mean s, where s is the min-max of f_t (1 + alpha t / T) for the top_fraction of tokens with the
    largest f in the second half of a response, and of f_t elsewhere; f is the min-max of VS. VGPO's similarity is that
    of the last hidden state alone. Its second factor, on whole responses, is no token weight and is left out.
    """
    focus = _min_max(similarity, mask)
    counts = mask.sum(dim=-1, keepdim=True)
    position = mask.cumsum(dim=-1) - 1
    late = mask & (position >= counts // 2)
    num_lifted = ((counts - counts // 2) * top_fraction).long().clamp(min=1)
    ranked = focus.masked_fill(~late, -torch.inf).sort(dim=-1, descending=True).values
    lifted = late & (focus >= ranked.gather(-1, num_lifted - 1))
    compensation = alpha * position / (counts - 1).clamp(min=1)
    score = _min_max(torch.where(lifted, focus * (1.0 + compensation), focus), mask)
    return (1.0 + score - score.sum(dim=-1, keepdim=True) / counts.clamp(min=1)).masked_fill(~mask, 0.0)


@register("uniform")
def _uniform(similarity, entropy, mask, **_):
    return mask.float()


def _valid(scores: torch.Tensor, mask: torch.Tensor, name: str) -> torch.Tensor:
    scores = scores.float().masked_fill(~mask, 0.0)
    if not torch.isfinite(scores).all():
        row, column = (~torch.isfinite(scores)).nonzero()[0].tolist()
        raise ValueError(f"{name} is {scores[row, column].item()} at valid token {column} of row {row}")
    return scores


def _min_max(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Min-max normalisation inside each response; 0 at invalid tokens and where all scores are equal."""
    low = scores.masked_fill(~mask, torch.inf).amin(dim=-1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(dim=-1, keepdim=True)
    return ((scores - low) / (high - low).clamp(min=_EPSILON)).masked_fill(~mask, 0.0)


def _spread(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """T * softmax over the valid tokens of each row."""
    share = torch.softmax(logits.masked_fill(~mask, -torch.inf), dim=-1)
    return (share * mask.sum(dim=-1, keepdim=True)).masked_fill(~mask, 0.0)

"""Token weights: how a response's advantage is spread over its tokens, by one of the methods in `weighting`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import torch

from pepo_rlhf.core import weighting

TOKEN_WEIGHTINGS: dict[str, ModuleType] = {
    module.name: import_module(f"{weighting.__name__}.{module.name}") for module in iter_modules(weighting.__path__)
}


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
    return TOKEN_WEIGHTINGS[method].weigh(
        _valid(similarity, mask, "similarity"),
        _valid(entropy, mask, "entropy"),
        mask,
        alpha=alpha,
        temperature=temperature,
        top_fraction=top_fraction,
    )


def is_scheduled(method: str) -> bool:
    """Whether the weights of a method gain influence with the training progress (--pepo.schedule)."""
    return getattr(TOKEN_WEIGHTINGS[method], "SCHEDULED", True)


def _valid(scores: torch.Tensor, mask: torch.Tensor, name: str) -> torch.Tensor:
    scores = scores.float().masked_fill(~mask, 0.0)
    if not torch.isfinite(scores).all():
        row, column = (~torch.isfinite(scores)).nonzero()[0].tolist()
        raise ValueError(f"{name} is {scores[row, column].item()} at valid token {column} of row {row}")
    return scores

"""Image sensitivity: how much a perturbed image changes the log-prob of the token that was drawn.

|log p(o_t | true image) - log p(o_t | perturbed image)|, equation 8 of ToR (arXiv 2603.25077), which removes the image.
It comes with the image dependence from the same second pass, and looks at one token of the vocabulary alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pepo_rlhf.core.signal import Signal

if TYPE_CHECKING:
    from torch import Tensor

SIGNAL = Signal(meaning="change of the token's log-prob under a perturbed image, in nats", perturbs_images=True)


def image_sensitivity(log_probs: Tensor, perturbed_log_probs: Tensor) -> Tensor:
    """Return the absolute difference of two log-probs of the same tokens, in nats, of their shape."""
    return (log_probs - perturbed_log_probs).abs()

"""Entropy: how undecided the policy was when it drew a token.

H_t = -sum_v p_t(v) log p_t(v), with p_t the next-token distribution at the sampling temperature that token t was drawn
from. `core.distribution` computes it together with the log-probs, from the same tiles of logits.
"""

from __future__ import annotations

from pepo_rlhf.core.signal import Signal

SIGNAL = Signal(meaning="entropy of the distribution that the token was drawn from, in nats")

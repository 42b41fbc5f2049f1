"""All that PEPO's step does and that of uniform weights does not: the token weights of a batch, on the controller."""

from __future__ import annotations

import torch

from benchmarks.measure import compare
from pepo_rlhf.core import token_weights

RESPONSES, TOKENS, CALLS = 128, 1000, 20  # calls of one measurement


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    similarity, entropy = torch.rand(2, RESPONSES, TOKENS)
    mask = torch.arange(TOKENS) < torch.randint(1, TOKENS, (RESPONSES, 1))

    def variant(method: str):
        return lambda: [token_weights(similarity, entropy, mask, method=method) for _ in range(CALLS)]

    rows = compare(
        "token weights of 128 x 1000 tokens, a call", {"uniform": variant("uniform"), "PEPO": variant("pepo")}, rounds
    )
    return [entry | {"seconds": entry["seconds"] / CALLS} for entry in rows]

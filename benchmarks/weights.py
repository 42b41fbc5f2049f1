"""All that PEPO's step does and that of uniform weights does not: the token weights of a batch, on the controller."""

from __future__ import annotations

import torch

from benchmarks.measure import compare
from pepo_rlhf.core.weighting import load_weighting

RESPONSES, TOKENS, CALLS = 128, 1000, 20  # calls of one measurement


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    similarity, entropy = torch.rand(2, RESPONSES, TOKENS)
    mask = torch.arange(TOKENS) < torch.randint(1, TOKENS, (RESPONSES, 1))

    def variant(method: str):
        weighting = load_weighting(method, {})
        signals = {"visual_similarity": similarity, "entropy": entropy}
        return lambda: [weighting(signals, mask) for _ in range(CALLS)]

    rows = compare(
        "token weights of 128 x 1000 tokens, a call", {"uniform": variant("uniform"), "PEPO": variant("pepo")}, rounds
    )
    return [entry | {"seconds": entry["seconds"] / CALLS} for entry in rows]

"""Visual similarity at Qwen2.5-VL-3B shapes against the authors' formula, taken literally."""

from __future__ import annotations

import torch

from benchmarks.measure import DEVICE, compare_with_memory
from pepo_rlhf.core.signals.visual_similarity import visual_similarity

ENTRIES, BATCH, POSITIONS, VISUAL, RESPONSE, HIDDEN = 37, 2, 1500, 400, 1000, 2048


def authors_formula(hidden_states, vision_mask: torch.Tensor) -> torch.Tensor:
    """A [T, N] matrix of cosines a layer, in the model's dtype, from hidden states that have all been kept."""
    total = 0.0
    for layer in hidden_states:
        unit = torch.nn.functional.normalize(layer, dim=-1)
        rows = [unit[b, -RESPONSE:] @ unit[b, vision_mask[b]].T for b in range(layer.shape[0])]
        total = total + torch.stack([row.mean(-1) for row in rows])
    return total / len(hidden_states)


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    states = [torch.randn(BATCH, POSITIONS, HIDDEN, device=DEVICE, dtype=torch.bfloat16) for _ in range(ENTRIES)]
    for state in states:
        state.share_memory_()  # else pages that the kernel moves about after a fork count as taken by the call
    mask = torch.zeros(BATCH, POSITIONS, dtype=torch.bool, device=DEVICE)
    mask[:, 20 : 20 + VISUAL] = True
    is_response = torch.arange(POSITIONS, device=DEVICE).expand(BATCH, -1) >= POSITIONS - RESPONSE
    variants = {
        "authors' formula": lambda: authors_formula(states, mask),
        "visual_similarity": lambda: visual_similarity(states, mask, response_mask=is_response),
        "copy of the same bytes": lambda: [state.clone() for state in states],
    }

    def check() -> None:
        exact = authors_formula([state.double() for state in states], mask)
        error = (variants["visual_similarity"]()[:, -RESPONSE:] - exact).abs().max().item()
        assert error < 1e-5, error

    # The copy is as large as the tuple of hidden states, which the authors' code keeps.
    return compare_with_memory({"similarity": variants}, check, rounds, {"similarity": "copy of the same bytes"})

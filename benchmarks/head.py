"""Log-probs and entropy of response tokens from tiles of logits, against float32 logits of every position.

On a GPU at the shapes of Qwen2.5-VL-3B in bfloat16: 2 sequences of 1500 tokens, 1000 of them responses; on a CPU at
those of `forward` in float32. OpenRLHF's head makes all logits; Liger's fused cross-entropy, where it is installed on a
machine with a GPU, gives log-probs without entropy.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import torch

from benchmarks.measure import DEVICE, compare_with_memory
from pepo_rlhf.core.distribution import log_probs_and_entropy

POSITIONS, RESPONSE, HIDDEN = (3000, 2000, 2048) if DEVICE == "cuda" else (2000, 800, 512)
VOCABULARY = 151_936


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    weight = (torch.randn(VOCABULARY, HIDDEN, device=DEVICE, dtype=dtype) * 0.02).requires_grad_()
    states = torch.randn(POSITIONS, HIDDEN, device=DEVICE, dtype=dtype, requires_grad=True)
    tokens = torch.randint(0, VOCABULARY, (POSITIONS,), device=DEVICE)

    def stock() -> torch.Tensor:
        logits = (states @ weight.T).float()
        return (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1))[:RESPONSE]

    def ours(with_entropy: bool = True) -> torch.Tensor:
        return log_probs_and_entropy(states[:RESPONSE], weight, tokens[:RESPONSE], with_entropy=with_entropy)[0]

    log_probs = {
        "stock, every position": stock,
        "ours, with entropy": ours,
        "ours, without entropy": partial(ours, with_entropy=False),
    }
    if DEVICE == "cuda" and importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        liger = LigerFusedLinearCrossEntropyLoss(reduction="sum")
        log_probs["Liger, without entropy"] = lambda: -liger(weight, states[:RESPONSE], tokens[:RESPONSE])
    for tensor in (states, weight):
        tensor.grad = torch.zeros_like(tensor)  # there before memory is measured

    def check() -> None:
        torch.testing.assert_close(ours(), stock(), rtol=1e-4, atol=1e-4 if DEVICE == "cpu" else 0.05)
        gradients = [torch.autograd.grad(function().sum(), (states, weight)) for function in (ours, stock)]
        for gradient, expected in zip(*gradients, strict=True):
            error = ((gradient - expected).norm() / expected.norm()).item()
            assert error < 0.01, error

    calls = {"head, experience": _without_gradients, "head, update": _with_gradients}
    comparisons = {
        title: {name: partial(call, function) for name, function in log_probs.items()} for title, call in calls.items()
    }
    return compare_with_memory(comparisons, check, rounds, dict.fromkeys(comparisons, "stock, every position"))


@torch.no_grad()
def _without_gradients(log_probs) -> None:
    log_probs()


def _with_gradients(log_probs) -> None:
    log_probs().sum().backward()

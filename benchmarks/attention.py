"""A decoder's forward and backward under sdpa, with a padding mask and causal without one.

The model is that of `forward`. The second half of the rows is 38% padding, 19% in all, on the right.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.forward import BATCH, PROMPT, RESPONSE, VOCABULARY, build_model
from benchmarks.measure import DEVICE, compare_with_memory
from pepo_rlhf.workers.causal_attention import without_padding_mask

LENGTH = PROMPT + RESPONSE


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    model = build_model()
    decoder = model.get_decoder()
    tokens = torch.randint(0, VOCABULARY - 100, (BATCH, LENGTH), device=DEVICE)
    mask = torch.ones_like(tokens)
    mask[BATCH // 2 :, int(LENGTH * 0.62) :] = 0

    def masked() -> torch.Tensor:
        return decoder(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state

    def causal() -> torch.Tensor:
        with without_padding_mask(model):
            return masked()

    @torch.no_grad()
    def check() -> None:
        difference = (masked() - causal())[mask.bool()].abs().max().item()
        assert difference < (1e-3 if DEVICE == "cpu" else 0.3), difference

    calls = {"attention, forward": _without_gradients, "attention, forward and backward": _with_gradients}
    variants = {"with the padding mask": masked, "causal, without a mask": causal}
    comparisons = {title: {name: partial(call, f) for name, f in variants.items()} for title, call in calls.items()}
    for parameter in model.parameters():  # their gradients are there before memory is measured
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    return compare_with_memory(comparisons, check, rounds, dict.fromkeys(comparisons, "with the padding mask"))


@torch.no_grad()
def _without_gradients(forward) -> None:
    forward()


def _with_gradients(forward) -> None:
    forward().float().square().mean().backward()

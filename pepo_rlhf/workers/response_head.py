"""Scores of response positions in place of logits: a vocabulary's worth of numbers a token is never kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from pepo_rlhf.core.distribution import log_probs_and_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def response_head(
    model: PreTrainedModel, next_tokens: torch.Tensor, mask: torch.Tensor, temperature: float, with_entropy: bool
) -> Iterator[None]:
    """Let the language-model head of `model` return scores in place of logits while the context lasts.

    The scores are [B, S, 2] float32, log-prob of each next token and entropy, or [B, S, 1] without entropy; both are 0
    outside `mask`. They are computed inside the head's own module call, where ZeRO-3 has gathered its weight, so that
    they arrive in the field of the output that is called `logits`.

    Args:
        model: a Hugging Face model with a language-model head.
        next_tokens: [B, S], the token that follows each position.
        mask: [B, S] bool, True where the next token is a response token.
        temperature: the sampling temperature, which logits are divided by.

    Raises:
        ValueError: if its head is more than a weight, such as one with a bias, which would go unnoticed.
    """
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head.bias is not None:
        raise ValueError(
            f"{type(model).__name__} has a head of type {type(head).__name__}: "
            "only a linear layer without bias is supported"
        )

    def score(hidden_states: torch.Tensor) -> torch.Tensor:
        log_probs, entropy = log_probs_and_entropy(
            hidden_states[mask], head.weight, next_tokens[mask], temperature, with_entropy, cap
        )
        columns = [log_probs] if entropy is None else [log_probs, entropy]
        scores = torch.zeros(*mask.shape, len(columns), dtype=torch.float32, device=hidden_states.device)
        scores[mask] = torch.stack(columns, dim=-1)
        return scores

    head.forward = score
    if cap is not None:
        config.final_logit_softcapping = None  # the model would cap the scores
    try:
        yield
    finally:
        del head.forward  # the instance's attribute, so that the class's method is found again
        if cap is not None:
            config.final_logit_softcapping = cap

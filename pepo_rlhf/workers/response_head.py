"""Scores of response positions in place of logits: a vocabulary's worth of numbers a token is never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Makes columns [N] float32 of hidden states [N, D], the head's weight [V, D], the tokens [N] that follow, and the cap
# of the logits, if there is one.
TokenScorer = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float | None], Sequence[torch.Tensor]]


@contextmanager
def response_head(
    model: PreTrainedModel, next_tokens: torch.Tensor, mask: torch.Tensor, scorer: TokenScorer
) -> Iterator[None]:
    """Let the language-model head of `model` return scores in place of logits while the context lasts.

    The scores are [B, S, columns] float32, 0 outside `mask`. They are computed inside the head's own module call, where
    ZeRO-3 has gathered its weight, so that they arrive in the field of the output that is called `logits`.

    Args:
        model: a Hugging Face model with a language-model head.
        next_tokens: [B, S], the token that follows each position.
        mask: [B, S] bool, True where the next token is a response token.
        scorer: makes the columns, of the positions in `mask`.

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
        columns = torch.stack(tuple(scorer(hidden_states[mask], head.weight, next_tokens[mask], cap)), dim=-1)
        scores = torch.zeros(*mask.shape, columns.shape[-1], dtype=torch.float32, device=hidden_states.device)
        scores[mask] = columns
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

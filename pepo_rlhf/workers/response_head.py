"""Logits for response positions only, a chunk at a time: a vocabulary's worth of numbers a token is never kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from pepo_rlhf.core import log_probs_and_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK_LOGITS = 2**23  # at once, as float32: 32 MiB, 55 positions of a vocabulary of 152k


@contextmanager
def response_head(
    model: PreTrainedModel, next_tokens: torch.Tensor, mask: torch.Tensor, temperature: float, entropy: bool
) -> Iterator[None]:
    """Inside the context `model` returns, as its logits, [B, S, 1] float32, the log-prob of each next token.

    With `entropy` it is [B, S, 2], the entropy in the second place. Both are 0 outside `mask`. The language-model head
    runs inside its own module call, where ZeRO-3 has gathered its weight and adapters apply. With gradients, each chunk
    is computed again in the backward pass.

    Args:
        model: a Hugging Face model with a language-model head.
        next_tokens: [B, S], the token that follows each position.
        mask: [B, S] bool, True where the next token is a response token.
        temperature: the sampling temperature, which logits are divided by.
        entropy: whether entropies are asked for; log-probs alone are cheaper.

    Raises:
        ValueError: if the model changes its logits after the head (softcapping), which would go unnoticed.
    """
    config = model.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None) is not None:
        raise ValueError(f"{type(model).__name__} caps its logits after the head: not supported")
    head = model.get_output_embeddings()
    linear = head.forward
    chunk_size = max(1, _CHUNK_LOGITS // config.vocab_size)

    def score_chunk(hidden_states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        logits = linear(hidden_states).float() / temperature
        if entropy:
            return torch.stack(log_probs_and_entropy(logits, tokens), dim=-1)
        return -cross_entropy(logits, tokens, reduction="none").unsqueeze(-1)

    def score(hidden_states: torch.Tensor) -> torch.Tensor:
        chunks = zip(hidden_states[mask].split(chunk_size), next_tokens[mask].split(chunk_size), strict=True)
        if torch.is_grad_enabled():
            rows = [checkpoint(score_chunk, *chunk, use_reentrant=False, preserve_rng_state=False) for chunk in chunks]
        else:
            rows = [score_chunk(*chunk) for chunk in chunks]
        scores = torch.zeros(*mask.shape, 1 + entropy, device=hidden_states.device)
        scores[mask] = torch.cat(rows)
        return scores

    head.forward = score
    try:
        yield
    finally:
        del head.forward  # the instance's; the class's shows again

"""Leaves the padding mask out of a causal decoder's attention, where that changes nothing that is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def without_padding_mask(model: PreTrainedModel) -> Iterator[None]:
    """Let the decoder of `model` attend causally and without a mask while the context lasts, if it uses sdpa.

    Sequences are padded on the right only, so that no valid position sees padding anyway. Without a mask torch can take
    its flash kernels. The rest of the model keeps the mask: positions and the balancing loss of experts need it. A
    decoder that gets masks made for it, as Gemma 3's, which lets images see ahead, keeps them.
    """
    decoder = model.get_decoder()
    if decoder.config._attn_implementation != "sdpa":
        yield
        return

    def drop(module, args, kwargs):
        mask = kwargs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            kwargs["attention_mask"] = None
        return args, kwargs

    hook = decoder.register_forward_pre_hook(drop, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()

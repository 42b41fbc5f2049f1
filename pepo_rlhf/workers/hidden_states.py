"""Hands each hidden state of a decoder to a consumer while the forward pass runs, so that none has to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def stream_hidden_states(
    model: PreTrainedModel, consume: Callable[[torch.Tensor], None], num_entries: int | None = None
) -> Iterator[None]:
    """Call `consume` with each entry of Hugging Face's `hidden_states` while `model` runs forward in the context.

    For L decoder layers these are L + 1 entries, each [B, S, D], in order: what enters the first layer (embeddings
    with the image features in place), the output of every layer but the last, and the output of the final norm.

    Args:
        model: a Hugging Face causal or image-text-to-text model whose `get_decoder()` has `layers` and `norm`:
            Qwen2.5-VL, InternVL in Hugging Face format, and plain decoder models.
        consume: called once an entry.
        num_entries: the first so many of them; a negative number counts from the last; None is all.

    Raises:
        ValueError: if the model has no such decoder, or fewer entries.
    """
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    norm = getattr(decoder, "norm", getattr(decoder, "embedding_norm", None))  # the second is LFM2's name
    if layers is None or norm is None:
        raise ValueError(
            f"{type(model).__name__}: its decoder {type(decoder).__name__} has no `layers` and `norm` to read hidden "
            "states from; use --pepo.method uniform with this model"
        )

    def before(layer, args, kwargs):
        consume(_first(args, kwargs))

    def after(layer, args, output):
        consume(_tensor(output))

    entries = [partial(layers[0].register_forward_pre_hook, before, with_kwargs=True)]
    entries += [partial(module.register_forward_hook, after) for module in (*layers[:-1], norm)]
    if num_entries is not None and abs(num_entries) > len(entries):
        raise ValueError(f"--pepo.num_layers {num_entries}: {type(model).__name__} has {len(entries)} hidden states")
    chosen = entries[:num_entries] if num_entries is None or num_entries > 0 else entries[num_entries:]
    hooks = [register() for register in chosen]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first(args: tuple, kwargs: dict) -> torch.Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _tensor(output: torch.Tensor | tuple) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output

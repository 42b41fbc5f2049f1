"""Count what autograd keeps of a decoder's forward pass, on a model without weights."""

from __future__ import annotations

import copy
from typing import Any

import torch

_ATTENTION = "counted"


class _Attention(torch.autograd.Function):
    """Keep what flash attention keeps: queries, keys, values, output, and a number a query."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> None:
        raise NotImplementedError("only the forward pass is counted")


def _attend(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    return _Attention.apply(query, key, value).transpose(1, 2), None  # type: ignore[no-untyped-call]


class _Tally:
    """Bytes of the tensors that autograd keeps, each storage once; not those of weights."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._storages = {_storage(weight): weight for weight in (*model.parameters(), *model.buffers())}
        self.num_bytes = 0

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        if (storage := _storage(tensor)) not in self._storages:
            self._storages[storage] = tensor  # alive, so that no other storage has its address
            self.num_bytes += tensor.untyped_storage().nbytes()
        return tensor


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def activation_bytes(model: Any, num_rows: int, length: int, with_checkpointing: bool) -> int:
    """Return the bytes that an update keeps of the decoder's forward pass over `num_rows` sequences of `length`.

    Args:
        model: a Hugging Face vision-language model on the meta device, in the dtype and with the trained weights of the
            run. It runs on embeddings: of a vision tower nothing is counted.
        with_checkpointing: count each layer's input, and the inside of the largest one, which is computed again.

    Raises:
        ValueError: if the decoder computes something that has no shape without weights, such as Gemma 4's.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _attend)
    decoder = copy.deepcopy(model.get_decoder()).train()
    decoder.config._attn_implementation = _ATTENTION
    tally, of_layers = _Tally(decoder), list[int]()

    def enter(layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
        of_layers.append(-tally.num_bytes)

    def leave(layer: torch.nn.Module, args: Any, output: Any) -> None:
        of_layers[-1] += tally.num_bytes

    for layer in decoder.layers:
        layer.register_forward_pre_hook(enter, with_kwargs=True)
        layer.register_forward_hook(leave)
    weight = decoder.get_input_embeddings().weight
    embeddings = weight.new_empty(num_rows, length, weight.shape[1]).requires_grad_()
    try:
        with torch.autograd.graph.saved_tensors_hooks(tally.add, lambda tensor: tensor):
            decoder(inputs_embeds=embeddings, use_cache=False)
    except RuntimeError as problem:
        reason = str(problem).splitlines()[0]
        raise ValueError(f"activations of {type(decoder).__name__} cannot be counted: {reason}") from problem
    if not with_checkpointing:
        return tally.num_bytes
    inputs = len(of_layers) * embeddings.untyped_storage().nbytes()
    return tally.num_bytes - sum(of_layers) + inputs + max(of_layers)

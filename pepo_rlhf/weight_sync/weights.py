"""The policy's weights, one after the other, as a checkpoint would hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import deepspeed
import torch
from peft.tuners.lora import LoraLayer
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import Transpose, WeightConverter

from pepo_rlhf.workers.adapters import ADAPTER

_BASE_LAYER = ".base_layer"  # in the name of a weight that has an adapter


class PolicyWeights:
    """Iterate over (name, tensor) of the policy's weights, in the names and layout of a checkpoint.

    A weight with a LoRA adapter is merged with it. Under ZeRO-3 each weight is gathered on every rank while it is the
    current one, so every rank must iterate, and no rank ever holds the whole model. The tensor is only valid until the
    next one.

    Args:
        model: the module inside the DeepSpeed engine.
        zero_stage: stage 3 partitions the parameters.
        only_trained: leave out weights that training does not change.

    Attributes:
        parameters: by name; of a weight with an adapter, the frozen one.
        trained: names of the weights that training changes.
    """

    def __init__(self, model: torch.nn.Module, zero_stage: int, only_trained: bool = False) -> None:
        self.partitioned = zero_stage == 3
        layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
        of_adapters = {id(weight) for layer in layers.values() for weight in _low_rank(layer)}
        self._adapters = {f"{name}.weight": layer for name, layer in layers.items()}
        parameters = {
            name.replace(_BASE_LAYER, ""): parameter
            for name, parameter in model.named_parameters()
            if id(parameter) not in of_adapters
        }
        self.trained = {name for name in parameters if parameters[name].requires_grad or name in self._adapters}
        self.parameters = {name: parameters[name] for name in parameters if name in self.trained or not only_trained}
        self._transpositions = list(_transpositions(model))

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, self.as_in_checkpoint(name, tensor)) for name, tensor in self.as_in_model())

    def as_in_model(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the same weights in the model's own layout, which `save_pretrained` takes."""
        for name, parameter in self.parameters.items():
            layer = self._adapters.get(name)
            low_rank = [] if layer is None else _low_rank(layer)
            with deepspeed.zero.GatheredParameters([parameter, *low_rank], enabled=self.partitioned):
                if layer is None:
                    yield name, parameter.data
                else:
                    a, b = low_rank
                    yield name, merge(parameter.data, a.data, b.data, layer.scaling[ADAPTER])

    def as_in_checkpoint(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return a weight as a checkpoint holds it; transformers transposes some when it loads them."""
        for pattern, operation in self._transpositions:
            if re.search(pattern, name):
                return tensor.transpose(operation.dim0, operation.dim1).contiguous()
        return tensor


def merge(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """Return weight + scale * b @ a, summed in float32 and rounded once, to the data type of `weight`.

    Args:
        weight: [out, in].
        a: [rank, in].
        b: [out, rank].
        scale: alpha / rank.
    """
    return torch.addmm(weight.float(), b.float(), a.float(), alpha=scale).to(weight.dtype)


def _low_rank(layer: Any) -> list[torch.nn.Parameter]:
    return [layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight]


def _transpositions(model: torch.nn.Module) -> Iterator[tuple[str, Transpose]]:
    """Yield a pattern of names and what is done to their weights at loading: the experts of Qwen3-VL-MoE."""
    for conversion in get_model_conversion_mapping(model, add_legacy=False):
        if isinstance(conversion, WeightConverter) and isinstance(conversion.operations[0], Transpose):
            yield conversion.target_patterns[0], conversion.operations[0]

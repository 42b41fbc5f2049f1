"""The policy's weights, one after the other, as a checkpoint would hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import deepspeed
import torch
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import Transpose, WeightConverter


class PolicyWeights:
    """Iterate over (name, tensor) of the policy's parameters, in the names and layout of a checkpoint.

    Under ZeRO-3 each parameter is gathered on every rank while it is the current one, so every rank must iterate, and
    no rank ever holds the whole model. The tensor is only valid until the next one.

    Args:
        model: the module inside the DeepSpeed engine.
        zero_stage: stage 3 partitions the parameters.
        names: the parameters to send, all of them by default.
    """

    def __init__(self, model: torch.nn.Module, zero_stage: int, names: Sequence[str] | None = None) -> None:
        chosen = None if names is None else set(names)
        self.partitioned = zero_stage == 3
        self.parameters = {
            name: parameter for name, parameter in model.named_parameters() if chosen is None or name in chosen
        }
        self._transpositions = list(_transpositions(model))

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, parameter in self.parameters.items():
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.partitioned):
                yield name, self.as_in_checkpoint(name, parameter.data)

    def as_in_checkpoint(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return a weight as a checkpoint holds it; transformers transposes some when it loads them."""
        for pattern, operation in self._transpositions:
            if re.search(pattern, name):
                return tensor.transpose(operation.dim0, operation.dim1).contiguous()
        return tensor


def _transpositions(model: torch.nn.Module) -> Iterator[tuple[str, Transpose]]:
    """Yield a pattern of names and what is done to their weights at loading: the experts of Qwen3-VL-MoE."""
    for conversion in get_model_conversion_mapping(model, add_legacy=False):
        if isinstance(conversion, WeightConverter) and isinstance(conversion.operations[0], Transpose):
            yield conversion.target_patterns[0], conversion.operations[0]

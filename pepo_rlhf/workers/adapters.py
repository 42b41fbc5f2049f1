"""LoRA adapters of the policy: which layers have one, and the model without them.

peft puts a layer of its own in the place of a linear one. No wrapper goes around the model, so that its decoder, its
head and its images are found where they are without adapters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"  # peft's name of a model's only adapter
ALL_LINEAR = "all-linear"
_FLAG = "--ds.lora.target_modules"


def add_adapters(
    model: PreTrainedModel, rank: int, alpha: int, dropout: float, targets: str | Iterable[str] = ALL_LINEAR
) -> None:
    """Give the linear layers that `targets` names adapters, whose B is 0, and freeze all other weights.

    Raises:
        ValueError: as `target_layers`.
    """
    from peft import LoraConfig, TaskType, inject_adapter_in_model  # takes seconds

    model.enable_input_require_grads()  # reentrant gradient checkpointing needs an input with a gradient
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        base_model_name_or_path=model.config.name_or_path,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=target_layers(model, targets),
    )
    inject_adapter_in_model(config, model, ADAPTER)


def target_layers(model: PreTrainedModel, targets: str | Iterable[str]) -> list[str]:
    """Return the names of the linear layers that get an adapter.

    Args:
        targets: each is all-linear, which is every linear layer of the language model, or a name of a layer or of a
            module around layers: q_proj, layers.0.mlp, visual.merger. A name that the language model has means only
            that; vision tower and projector have adapters where the language model does not know the name.

    Raises:
        ValueError: if a name is no linear layer's, or takes in experts whose weights have three dimensions.
    """
    head, decoder = model.get_output_embeddings(), model.get_decoder()
    modules = dict(model.named_modules())
    inside = next(name for name, module in modules.items() if module is decoder) + "."
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear) and module is not head]
    chosen: set[str] = set()
    for target in [targets] if isinstance(targets, str) else targets:
        for name in _select(filter(None, modules), target, inside):
            if name.startswith(inside) and _has_experts(modules[name]):
                raise ValueError(
                    f"{_FLAG} {target} takes in {name}, experts in weights of three dimensions, which cannot have "
                    "adapters: name other layers, such as q_proj k_proj v_proj o_proj"
                )
        if not (found := _select(linear, target, inside)):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear if name.startswith(inside)}))
            raise ValueError(
                f"{_FLAG} {target}: {type(model).__name__} has no linear layer of that name. Those of its language "
                f"model are {known}; embeddings and the head cannot have adapters"
            )
        chosen.update(found)
    return [name for name in linear if name in chosen]


def _select(names: Iterable[str], target: str, inside: str) -> list[str]:
    if target == ALL_LINEAR:
        return [name for name in names if name.startswith(inside)]
    matches = [name for name in names if f".{target}." in f".{name}."]
    return [name for name in matches if name.startswith(inside)] or matches


def _has_experts(module: torch.nn.Module) -> bool:
    if isinstance(module, torch.nn.modules.conv._ConvNd):
        return False
    return any(len(getattr(weight, "ds_shape", weight.shape)) == 3 for weight in module.parameters(recurse=False))


@contextmanager
def without_adapters(model: torch.nn.Module) -> Iterator[None]:
    """Let `model` compute what the base model computes while the context lasts."""
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)

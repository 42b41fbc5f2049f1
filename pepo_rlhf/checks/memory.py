"""Estimate what a run needs of a GPU's memory, from the shapes of its model and before anything is loaded.

DeepSpeed's part is read from its runtime/zero: a rank's share of the gradients, a bucket that they are reduced in, and
float32 copies of them while the optimiser steps, when the activations are gone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

from pepo_rlhf.checks.activations import activation_bytes
from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.storage import STATE_BYTES, WEIGHT_BYTES, model_bytes
from pepo_rlhf.config import Config
from pepo_rlhf.core.distribution import TILE

_GIB = 2**30
_BUCKET = 500_000_000  # numbers in DeepSpeed's buffer of gradients
_GATHERED = 1_000_000_000  # numbers that ZeRO-3 keeps gathered at most
_CONTEXT = 0.5 * _GIB  # of CUDA, a process
_FULL = 0.9  # share of a card above which an allocation may find no free piece that is large enough
_SMALLER = ("--ds.lora.rank", "--actor.gradient_checkpointing_enable", "--train.micro_batch_size", "--ds.adam_offload")


def check_memory(inputs: Inputs, gpu_memory: float) -> Iterator[Finding]:
    """Yield the estimated peaks of the policy's and the engines' GPUs, against cards of `gpu_memory` GiB."""
    config, model = inputs.config, trained_model(inputs)
    kept, states = kept_bytes(inputs), state_bytes(config, model)
    try:
        passing = passing_bytes(config, model)
    except ValueError as problem:
        yield warning(f"no estimate: {problem}")
        return
    engine = {"engine": config.vllm.gpu_memory_utilization * gpu_memory * _GIB} if config.shares_all_gpus else {}
    awake = {} if config.vllm.enable_sleep else engine
    yield _compare("a GPU of the policy, in the update", kept | states | passing | awake, gpu_memory, *_SMALLER)
    if not config.actor.freeze_visual_encoder:
        yield warning("the vision tower is trained, and its activations are not in this estimate")
    if engine:
        states = {} if config.ds.enable_sleep else states
        flags = ("--vllm.gpu_memory_utilization", "--ds.enable_sleep")
        yield _compare("the same GPU, in the generation", kept | states | engine, gpu_memory, *flags)
    yield _check_cache(inputs, gpu_memory)


def trained_model(inputs: Inputs) -> Any:
    """Return the policy on the meta device, in the run's dtype, with the weights that the run trains."""
    import torch

    from pepo_rlhf.workers.adapters import add_adapters

    config, model = inputs.config, copy.deepcopy(inputs.meta_model)
    lora = config.ds.lora
    if config.has_adapters:
        add_adapters(model, lora.rank, lora.alpha, lora.dropout, lora.target_modules)
    elif config.actor.freeze_visual_encoder:
        for name, weight in model.named_parameters():  # by name, as OpenRLHF's Actor does
            weight.requires_grad = "language_model" in name or "lm_head" in name
    return model.to(getattr(torch, config.dtype_name))


def kept_bytes(inputs: Inputs) -> dict[str, float]:
    """Return the bytes of one GPU of the policy that are there in every phase."""
    config = inputs.config
    whole, shards = model_bytes(inputs), config.num_policy_ranks if config.ds.zero_stage == 3 else 1
    adapters = WEIGHT_BYTES[config.ds.param_dtype] * inputs.num_adapter_parameters
    parts = {"weights": (whole + adapters) / shards}
    has_reference = config.num_reference_ranks > 0 and (config.train.colocate_all or config.train.colocate_actor_ref)
    if has_reference and not config.ref.offload:
        parts["reference"] = whole / shards
    return parts | {"CUDA": _CONTEXT * (1 + has_reference + config.shares_all_gpus)}


def state_bytes(config: Config, model: Any) -> dict[str, float]:
    """Return the bytes of gradients and optimiser, which --ds.enable_sleep moves to host memory."""
    if config.ds.adam_offload:
        return {}
    share = _num_trained(model) / config.num_policy_ranks
    return {"gradients": WEIGHT_BYTES[config.ds.param_dtype] * share, "optimiser": STATE_BYTES * share}


def passing_bytes(config: Config, model: Any) -> dict[str, float]:
    """Return the bytes of what comes and goes in an update, at its peak: in a micro-batch, or in the optimiser's step.

    Sequences are taken to be of --data.max_len.
    """
    width, ranks, length = WEIGHT_BYTES[config.ds.param_dtype], config.num_policy_ranks, config.data.max_len
    num_rows = config.train.micro_batch_size
    if config.train.dynamic_batch_enable:
        num_rows = max(config.train.max_tokens_per_gpu // length, 1)
    head = model.get_output_embeddings().weight
    parts = {
        "activations": activation_bytes(model, num_rows, length, config.actor.gradient_checkpointing_enable),
        "logits": width * (2 * math.prod(TILE["cuda"]) + head.numel() * head.requires_grad),
        "bucket of gradients": width * _BUCKET,
    }
    if config.ds.zero_stage == 3 and ranks > 1:
        parts["gathered weights"] = width * min(model.num_parameters(), _GATHERED)
    step = 0 if config.ds.adam_offload else 4 * _num_trained(model) / ranks
    return {"float32 gradients": step} if step > sum(parts.values()) else parts


def _check_cache(inputs: Inputs, gpu_memory: float) -> Finding:
    """Return whether an engine's share of its GPUs holds the weights, and for how many sequences it has a cache."""
    config, text = inputs.config, inputs.model_config.get_text_config()
    width, tensor_parallel = WEIGHT_BYTES[config.ds.param_dtype], config.vllm.tensor_parallel_size
    size = config.vllm.gpu_memory_utilization * gpu_memory * _GIB - model_bytes(inputs) / tensor_parallel
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    of_token = 2 * width * text.num_hidden_layers * text.num_key_value_heads * head_size / tensor_parallel
    num_sequences = int(size / (of_token * config.data.max_len))
    flags = ("--vllm.gpu_memory_utilization", "--vllm.tensor_parallel_size")
    if num_sequences < 1:
        return error(f"an engine's share of {gpu_memory:g} GiB does not hold the weights and a cache", *flags)
    return ok(f"an engine's cache: at most {size / _GIB:.1f} GiB, for {num_sequences} sequences of --data.max_len")


def _compare(place: str, parts: dict[str, float], gpu_memory: float, *flags: str) -> Finding:
    total = sum(parts.values()) / _GIB
    listed = ", ".join(f"{name} {size / _GIB:.1f}" for name, size in parts.items())
    text = f"{place}: about {total:.1f} of {gpu_memory:g} GiB ({listed})"
    if total > _FULL * gpu_memory:
        return error(text, *flags) if total > gpu_memory else warning(text, *flags)
    return ok(text)


def _num_trained(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)

"""Values that a number may take by itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from pepo_rlhf.config.settings import Config

# what a value must be, its test, the flags it holds for; a flag that is None is not tested, and none may be infinite
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            "actor.num_nodes",
            "actor.num_gpus_per_node",
            "ref.num_nodes",
            "ref.num_gpus_per_node",
            "reward.num_processes",
            "reward.memory_mb",
            "vllm.num_engines",
            "vllm.tensor_parallel_size",
            "ds.tensor_parallel_size",
            "data.max_len",
            "data.max_samples",
            "data.min_pixels",
            "data.max_pixels",
            "rollout.batch_size",
            "rollout.n_samples_per_prompt",
            "rollout.vllm_generate_batch_size",
            "rollout.micro_batch_size",
            "rollout.max_tokens_per_gpu",
            "rollout.max_new_tokens",
            "train.batch_size",
            "train.micro_batch_size",
            "train.max_tokens_per_gpu",
            "train.num_episodes",
            "train.max_epochs",
            "train.async_queue_size",
            "eval.n_samples_per_prompt",
            "ckpt.max_num",
            "logger.logging_steps",
            "ds.zpg",
            "ds.lora.alpha",
        ),
    ),
    (
        "greater than 0",
        lambda value: value > 0,
        (
            "reward.timeout_seconds",
            "run.stall_timeout",
            "actor.adam.lr",
            "actor.muon.lr",
            "actor.eps_clip",
        ),
    ),
    # vLLM refuses more than 2.
    ("greater than 0 and at most 2", lambda value: 0 < value <= 2, ("rollout.temperature",)),
    (
        "greater than 0 and at most 1",
        lambda value: 0 < value <= 1,
        ("rollout.top_p", "vllm.gpu_memory_utilization"),
    ),
    (
        "at least 0",
        lambda value: value >= 0,
        (
            "actor.adam.eps",
            "actor.adam.weight_decay",
            "actor.eps_clip_low_high",
            "algo.kl.init_coef",
            "data.max_images_per_prompt",
            "data.dataloader_num_workers",
            "actor.max_norm",
            "reward.overlong_buffer_len",
            "logger.tokens_every",
            "reward.overlong_penalty_factor",
            "vllm.max_restarts",
            "ds.lora.rank",
        ),
    ),
    # NumPy refuses 2**32, and each engine adds its number.
    ("at least 0 and below 2**31", lambda value: 0 <= value < 2**31, ("train.seed",)),
    ("from 0 to 3", lambda value: 0 <= value <= 3, ("ds.zero_stage",)),
    ("from 0 to 2", lambda value: 0 <= value <= 2, ("eval.temperature",)),
    (
        "from 0 to 1",
        lambda value: 0 <= value <= 1,
        ("reward.max_error_rate", "actor.lr_warmup_ratio", "actor.min_lr_ratio", "train.ema_beta"),
    ),
    (
        "at least 0 and below 1",
        lambda value: 0 <= value < 1,
        ("actor.adam.betas", "actor.muon.momentum", "ds.lora.dropout"),
    ),
    ("at most 1", lambda value: value <= 1, ("reward.stop_properly_penalty_coef",)),
    ("greater than 1", lambda value: value > 1, ("actor.dual_clip",)),
    ("finite", lambda value: True, ("actor.entropy_coef", "actor.aux_loss_coef")),
    ("other than 0", lambda value: value != 0, ("pepo.num_layers",)),
    ("-1 (never) or at least 1", lambda value: value == -1 or value >= 1, ("eval.steps", "ckpt.save_steps")),
)


def numbers_are_usable(config: Config) -> str | None:
    """Of every setting, also those without a range of their own."""
    for flag, number in _numbers("", dataclasses.asdict(config)):
        if isinstance(number, int) and abs(number) >= 2**63:
            return f"--{flag} is too large a number: give a smaller one"
        if math.isnan(number):
            return f"--{flag} is not a number: give one"
    return None


def _numbers(flag: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _numbers(f"{flag}.{name}".removeprefix("."), item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(flag, item)
    elif isinstance(value, int | float):
        yield flag, value


def values_in_range(config: Config) -> str | None:
    for description, holds, flags in _RANGES:
        for flag in flags:
            value = attrgetter(flag)(config)
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None and not (math.isfinite(number) and holds(number)):
                    return f"--{flag} must be {description}, not {value}"
    return None

"""Placement: where policy, reference and rollout engines run, and their start and end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.trainer.ray.utils import get_bundle_indices
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from openrlhf.utils import get_strategy
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.config.learning import Actor
from pepo_rlhf.config.running import Reference
from pepo_rlhf.controller.engines import Engines
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.workers.policy import PolicyActor
from pepo_rlhf.workers.reference import ReferenceActor
from pepo_rlhf.workers.rollout import RolloutActor

logger = logging.getLogger(__name__)
_SHARED_GPU = 0.2  # share of a GPU that each of up to five colocated actors reserves, as upstream


class Workers(NamedTuple):
    """The Ray actors of a run; no reference without a KL, or where the policy without its adapters is the reference."""

    engine_handles: list[Any]
    policy: RayActorGroup
    reference: RayActorGroup | None


@contextmanager
def start_workers(config: Config, watchdog: Watchdog) -> Iterator[Workers]:
    """Place the actors, whose models are still to be loaded, and stop the engines when the context ends."""
    watchdog.enter("placement of the actors")
    colocated = None
    if config.train.colocate_all or config.train.colocate_actor_ref:
        colocated = _reserve(config.num_policy_ranks)
    engines = start_engines(config, colocated if config.shares_all_gpus else None)
    try:
        policy = _model_group(config.actor, PolicyActor, colocated)
        reference = _model_group(config.ref, ReferenceActor, colocated) if config.num_reference_ranks else None
        yield Workers(engines, policy, reference)
    finally:
        watchdog.enter("end of the run")
        stop_engines(engines)


def load_models(config: Config, workers: Workers, max_steps: int, resume_from: Path | None = None) -> Engines:
    """Load every worker's model, and return the engines once all of them are ready.

    Args:
        max_steps: optimiser steps of the run.
        resume_from: folder of the checkpoint that the policy goes on from.
    """
    strategy = get_strategy(to_arguments(config))
    # The engines first: one that cannot start is reported before the models have loaded.
    loading = [engine.get_num_unfinished_requests.remote() for engine in workers.engine_handles]
    loading += workers.policy.async_init_model_from_pretrained(
        strategy, config, max_steps, workers.engine_handles, resume_from
    )
    if workers.reference is not None:
        loading += workers.reference.async_init_model_from_pretrained(strategy, config.actor.model_name_or_path)
    ray.get(loading)
    return Engines(
        workers.engine_handles, workers.policy, sleeps=config.vllm.enable_sleep, max_restarts=config.vllm.max_restarts
    )


def start_engines(config: Config, shared: PlacementGroup | None) -> list[Any]:
    """Return one rollout actor an engine, on GPUs of its own or, where `shared` is given, beside the policy."""
    tensor_parallel = config.vllm.tensor_parallel_size
    group = shared or _reserve(config.vllm.num_engines * tensor_parallel)
    num_gpus = (_SHARED_GPU if shared else 1) if tensor_parallel == 1 else 0
    engines = []
    for index in range(config.vllm.num_engines):
        bundles = get_bundle_indices(group, index, tensor_parallel) if tensor_parallel > 1 else None
        actor = RolloutActor.options(
            max_restarts=config.vllm.max_restarts,
            num_cpus=num_gpus,
            num_gpus=num_gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group,
                placement_group_capture_child_tasks=True,
                placement_group_bundle_index=bundles[0] if bundles else index,
            ),
        )
        engines.append(
            actor.remote(
                **engine_arguments(config),
                number=index,
                reward=config.reward,  # every engine has a service
                min_pixels=config.data.min_pixels,
                max_pixels=config.data.max_pixels,
                seed=config.train.seed + index,
                bundle_indices=bundles,
                num_gpus=_SHARED_GPU if shared else 1,
            )
        )
    if config.vllm.enable_sleep:
        batch_vllm_engine_call(engines, "sleep")
    return engines


def engine_arguments(config: Config) -> dict[str, Any]:
    """Return vLLM's settings, the same for every engine."""
    return {
        "model": config.actor.model_name_or_path,
        "trust_remote_code": config.run.trust_remote_code,
        "load_format": "safetensors",  # "auto" would unpickle a folder that has no others
        "dtype": config.dtype_name,
        "max_model_len": config.data.max_len,
        "limit_mm_per_prompt": {"image": config.data.max_images_per_prompt},
        "tensor_parallel_size": config.vllm.tensor_parallel_size,
        "distributed_executor_backend": "uni" if config.vllm.tensor_parallel_size == 1 else "ray",
        "enforce_eager": config.vllm.enforce_eager,
        "enable_prefix_caching": config.vllm.enable_prefix_caching,
        "enable_sleep_mode": config.vllm.enable_sleep,
        "gpu_memory_utilization": config.vllm.gpu_memory_utilization,
        "full_determinism": config.train.full_determinism_enable,
        "weight_transfer_config": {"backend": "nccl"} if config.vllm.packed_weight_transfer else None,
        "worker_extension_cls": "pepo_rlhf.weight_sync.engine_extension.WeightSyncExtension",
        # Of the distribution that was sampled from: with the temperature, as the trainer's, and with top-p.
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": 1,
    }


def stop_engines(engines: list[Any]) -> None:
    """End the engines' processes: Ray kills the actors but knows nothing of what they started."""
    _, unfinished = ray.wait([engine.shutdown.remote() for engine in engines], num_returns=len(engines), timeout=30)
    if unfinished:
        logger.warning(f"{len(unfinished)} rollout engines did not shut down within 30 s and are killed")
    for engine in engines:
        ray.kill(engine)


def _model_group(size: Actor | Reference, actor_class: Any, colocated: PlacementGroup | None) -> RayActorGroup:
    return RayActorGroup(
        size.num_nodes,
        size.num_gpus_per_node,
        actor_class,
        pg=colocated,
        num_gpus_per_actor=_SHARED_GPU if colocated else 1,
    )


def _reserve(num_gpus: int) -> PlacementGroup:
    group: PlacementGroup = placement_group([{"GPU": 1, "CPU": 1}] * num_gpus, strategy="PACK")
    ray.get(group.ready())
    return group

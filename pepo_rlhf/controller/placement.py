"""One run: place the actors, load the models, train, save, and leave nothing behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.trainer.ray.utils import get_bundle_indices
from openrlhf.utils import get_strategy
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from rich.console import Console

from pepo_rlhf.controller.vision_check import BlindnessError
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.metrics.progress import show_progress
from pepo_rlhf.rewards.service import service_arguments
from pepo_rlhf.workers.policy import PolicyActor
from pepo_rlhf.workers.reference import ReferenceActor
from pepo_rlhf.workers.rollout import RolloutActor

_SHARED_GPU = 0.2  # share of a GPU that each of up to five colocated actors reserves, as upstream


class Workers(NamedTuple):
    """What runs are trained with, one after the other.

    Attributes:
        policy, reference: groups of actors; no reference where --algo.kl.init_coef is 0.
        engines: RolloutWorkers.
    """

    watchdog: Watchdog
    engines: list
    policy: RayActorGroup
    reference: RayActorGroup | None


def run(args) -> None:
    """Trains on the Ray cluster that this process is connected to, and saves the policy under the run folder.

    Args:
        args: the namespace of `pepo_rlhf.config.to_arguments`.

    Raises:
        BlindnessError: if the blindness gate stops the run.
        Stopped: after a checkpoint, if this process got a SIGTERM.
        Stalled: if a phase takes longer than --run.stall_timeout.
    """
    with start_workers(args) as workers:
        train(args, workers, load(args, workers))
        workers.watchdog.enter("saving of the model")
        ray.get(workers.policy.async_save_model())


def pass_gate(args) -> None:
    """Starts what `run` starts, asks the blindness gate, and ends it all.

    Raises:
        BlindnessError: if the gate would stop the run.
    """
    with start_workers(args) as workers:
        _pass_gate(workers.watchdog, load(args, workers))


@contextmanager
def start_workers(args) -> Iterator[Workers]:
    """Places the workers; engines are stopped at the end."""
    watchdog = Watchdog(args.run.stall_timeout)
    watchdog.enter("placement of the actors")
    colocated = None
    if args.train.colocate_all or args.train.colocate_actor_ref:
        colocated = _reserve(args.actor.num_nodes * args.actor.num_gpus_per_node)
    engines = start_engines(args, colocated if args.train.colocate_all and not args.train.async_enable else None)
    try:
        policy = _model_group(args, args.actor, PolicyActor, colocated)
        reference = _model_group(args, args.ref, ReferenceActor, colocated) if args.algo.kl.init_coef > 0 else None
        yield Workers(watchdog, engines, policy, reference)
    finally:
        watchdog.enter("end of the run")
        stop_engines(engines)
        watchdog.close()


def load(args, workers: Workers):
    """The trainer of a run, once every worker has the model, policy and reference with fresh states."""
    strategy, model = get_strategy(args), args.actor.model_name_or_path
    trainer = _trainer_class(args).remote(
        model,
        strategy,
        workers.policy,
        None,  # no critic
        None,  # no reward model
        workers.reference,
        workers.engines,
        max_len=args.data.max_len,
        max_new_tokens=args.rollout.max_new_tokens,
        temperature=args.rollout.temperature,
        top_p=args.rollout.top_p,
    )
    max_steps = ray.get(trainer.get_max_steps.remote())
    workers.watchdog.enter("loading of the models")
    # The engines first: one that cannot start is reported before the models have loaded.
    loading = [engine.get_num_unfinished_requests.remote() for engine in workers.engines]
    loading += workers.policy.async_init_model_from_pretrained(strategy, model, max_steps, workers.engines)
    if workers.reference is not None:
        loading += workers.reference.async_init_model_from_pretrained(strategy, model)
    ray.get(loading)
    return trainer


def train(args, workers: Workers, trainer) -> None:
    """The blindness gate, and the training of a run that is loaded. Raises as `run`."""
    _pass_gate(workers.watchdog, trainer)
    max_steps = ray.get(trainer.get_max_steps.remote())
    # Upstream counts optimiser steps.
    responses = args.rollout.batch_size * args.rollout.n_samples_per_prompt * args.train.max_epochs
    _supervise(trainer, workers.watchdog, Path(args.run.dir), max_steps * args.train.batch_size // responses)


def _pass_gate(watchdog: Watchdog, trainer) -> None:
    watchdog.enter("blindness gate")
    if fault := ray.get(trainer.check_blindness.remote()):
        raise BlindnessError(fault)


def _supervise(trainer, watchdog: Watchdog, run_dir: Path, num_steps: int) -> None:
    """Runs `fit`. The first SIGTERM asks the trainer to stop after its step, the next one ends the run at once."""
    sigterm = threading.Event()

    def on_sigterm(signum, frame) -> None:
        if sigterm.is_set():
            raise KeyboardInterrupt
        sigterm.set()

    signal.signal(signal.SIGTERM, on_sigterm)
    fit = trainer.fit.remote()
    asked, phase = None, trainer.current_phase.remote()

    def finished() -> bool:
        """Waits a second at most, and passes on what has happened in it."""
        nonlocal asked, phase
        if ray.wait([fit], timeout=1)[0]:
            return True
        if ray.wait([phase], timeout=0)[0]:
            watchdog.enter(ray.get(phase))
            phase = trainer.current_phase.remote()
        if sigterm.is_set() and asked is None:
            print("SIGTERM: the run ends after this step, with a checkpoint", flush=True)
            asked = trainer.request_stop.remote()
        return False

    show_progress(run_dir / "metrics.jsonl", num_steps=num_steps, finished=finished, console=Console())
    ray.get(fit)


def start_engines(args, shared: PlacementGroup | None) -> list:
    """One rollout actor an engine, on GPUs of its own or, where `shared` is given, beside the policy."""
    tensor_parallel = args.vllm.tensor_parallel_size
    group = shared or _reserve(args.vllm.num_engines * tensor_parallel)
    num_gpus = (_SHARED_GPU if shared else 1) if tensor_parallel == 1 else 0
    engines = []
    for index in range(args.vllm.num_engines):
        bundles = get_bundle_indices(group, index, tensor_parallel) if tensor_parallel > 1 else None
        actor = RolloutActor.options(
            max_restarts=args.vllm.max_restarts,
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
                **_engine_arguments(args),
                rewards=service_arguments(args.reward),  # every engine has a service
                min_pixels=args.data.min_pixels,
                max_pixels=args.data.max_pixels,
                seed=args.train.seed + index,
                bundle_indices=bundles,
                num_gpus=_SHARED_GPU if shared else 1,
            )
        )
    if args.vllm.enable_sleep:
        ray.get([engine.sleep.remote() for engine in engines])
    return engines


def _engine_arguments(args) -> dict:
    """vLLM's settings, the same for every engine."""
    return {
        "model": args.actor.model_name_or_path,
        "trust_remote_code": args.run.trust_remote_code,
        "load_format": "safetensors",  # "auto" would unpickle a folder that has no others
        "dtype": {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[args.ds.param_dtype],
        "max_model_len": args.data.max_len,
        "limit_mm_per_prompt": {"image": args.data.max_images_per_prompt},
        "tensor_parallel_size": args.vllm.tensor_parallel_size,
        "distributed_executor_backend": "uni" if args.vllm.tensor_parallel_size == 1 else "ray",
        "enforce_eager": args.vllm.enforce_eager,
        "enable_prefix_caching": args.vllm.enable_prefix_caching,
        "enable_sleep_mode": args.vllm.enable_sleep,
        "gpu_memory_utilization": args.vllm.gpu_memory_utilization,
        "full_determinism": args.train.full_determinism_enable,
        "weight_transfer_config": {"backend": "nccl"} if args.vllm.packed_weight_transfer else None,
        "worker_extension_cls": "pepo_rlhf.weight_sync.engine_extension.WeightSyncExtension",
        # Of the distribution that was sampled from: with the temperature, as the trainer's, and with top-p.
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": 1,
    }


def stop_engines(engines: list) -> None:
    """Ends the engines' processes; Ray kills the actors but knows nothing of what they started."""
    _, unfinished = ray.wait([engine.shutdown.remote() for engine in engines], num_returns=len(engines), timeout=30)
    if unfinished:
        print(f"{len(unfinished)} rollout engines did not shut down within 30 s and are killed", flush=True)
    for engine in engines:
        ray.kill(engine)


def _model_group(args, size, actor_class, colocated: PlacementGroup | None) -> RayActorGroup:
    return RayActorGroup(
        size.num_nodes,
        size.num_gpus_per_node,
        actor_class,
        pg=colocated,
        num_gpus_per_actor=_SHARED_GPU if colocated else 1,
    )


def _reserve(num_gpus: int) -> PlacementGroup:
    group = placement_group([{"GPU": 1, "CPU": 1}] * num_gpus, strategy="PACK")
    ray.get(group.ready())
    return group


def _trainer_class(args):
    if args.train.async_enable:
        from pepo_rlhf.controller.trainer_async import AsyncTrainerActor

        return AsyncTrainerActor
    from pepo_rlhf.controller.trainer import TrainerActor

    return TrainerActor

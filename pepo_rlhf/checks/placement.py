"""Compare the GPUs and CPUs that a run reserves with the nodes that there are."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.config import Config
from pepo_rlhf.config.reservations import arithmetic, required_gpus, shortfall


def check_arithmetic(config: Config) -> Iterator[Finding]:
    """Yield what the run reserves, on whatever cluster."""
    required = required_gpus(config)
    yield ok(f"{required} GPUs, each with a CPU: {arithmetic(config)}")


def check_nodes(config: Config, nodes: list[dict[str, float]]) -> Iterator[Finding]:
    """Yield whether nodes with these resources ("GPU", "CPU") can hold the run."""
    if problem := shortfall(config, nodes):
        yield error(problem)
        return
    largest = max(int(node.get("GPU", 0)) for node in nodes)
    for flag, size in (
        ("--actor.num_gpus_per_node", config.actor.num_gpus_per_node),
        ("--ref.num_gpus_per_node", config.ref.num_gpus_per_node if config.num_reference_ranks else 0),
        ("--vllm.tensor_parallel_size", config.vllm.tensor_parallel_size),
    ):
        if size > largest:
            yield warning(f"{flag} {size}, but the largest node has {largest} GPUs: it is spread over several nodes")
    gpus, cpus = (int(sum(node.get(name, 0) for node in nodes)) for name in ("GPU", "CPU"))
    yield ok(f"{gpus} GPUs and {cpus} CPUs on {len(nodes)} nodes")


def check_machine(config: Config) -> Iterator[Finding]:
    """Yield whether this machine has the GPUs of a run that starts Ray here; without any, Ray gets logical ones."""
    import torch

    if not (num_gpus := torch.cuda.device_count()):
        return
    if problem := shortfall(config, [{"GPU": num_gpus, "CPU": required_gpus(config)}]):
        yield error(f"{problem}: a run without RAY_ADDRESS starts it on this machine")
    else:
        yield ok(f"this machine has {num_gpus} GPUs")


def check_cluster(config: Config, address: str) -> Iterator[Finding]:
    """Yield whether the nodes of the Ray cluster at `address`, or of the one that "auto" finds, can hold the run."""
    import ray

    from pepo_rlhf.controller import cluster

    cluster.require_reachable("--cluster", address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        raise ValueError(f"--cluster {address}: {str(problem).splitlines()[0]}") from problem
    try:
        yield from check_nodes(config, cluster.alive_nodes())
        free = int(ray.available_resources().get("GPU", 0))
        if free < required_gpus(config) <= int(ray.cluster_resources().get("GPU", 0)):
            yield warning(f"{free} GPUs are free now: the run waits until other jobs give theirs back")
    finally:
        ray.shutdown()

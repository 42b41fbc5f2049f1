"""Can the actors be placed: GPUs and CPUs that a run reserves, against the nodes that there are?"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.config.reservations import arithmetic, required_gpus, shortfall

_CONNECT_SECONDS = 5.0


def check_arithmetic(args) -> Iterator[Finding]:
    """What the run reserves, on whatever cluster."""
    required = required_gpus(args)
    yield ok(f"{required} GPUs, each with a CPU: {arithmetic(args)}")


def check_nodes(args, nodes: list[dict[str, float]]) -> Iterator[Finding]:
    """Whether nodes with these resources ("GPU", "CPU") can hold the run."""
    if problem := shortfall(args, nodes):
        yield error(problem)
        return
    largest = max(int(node.get("GPU", 0)) for node in nodes)
    for flag, size in (
        ("--actor.num_gpus_per_node", args.actor.num_gpus_per_node),
        ("--ref.num_gpus_per_node", args.ref.num_gpus_per_node if args.algo.kl.init_coef > 0 else 0),
        ("--vllm.tensor_parallel_size", args.vllm.tensor_parallel_size),
    ):
        if size > largest:
            yield warning(f"{flag} {size}, but the largest node has {largest} GPUs: it is spread over several nodes")
    gpus, cpus = (int(sum(node.get(name, 0) for node in nodes)) for name in ("GPU", "CPU"))
    yield ok(f"{gpus} GPUs and {cpus} CPUs on {len(nodes)} nodes")


def check_machine(args) -> Iterator[Finding]:
    """A run without a cluster starts Ray on this machine; without a GPU, on as many logical ones as it reserves."""
    import torch

    if not (num_gpus := torch.cuda.device_count()):
        return
    if problem := shortfall(args, [{"GPU": num_gpus, "CPU": required_gpus(args)}]):
        yield error(f"{problem}: a run without RAY_ADDRESS starts it on this machine")
    else:
        yield ok(f"this machine has {num_gpus} GPUs")


def _require_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # auto
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as problem:
        raise ValueError(f"--cluster {address} cannot be reached: {problem}") from problem


def check_cluster(args, address: str) -> Iterator[Finding]:
    """Asks the Ray cluster at `address`, or the one that "auto" finds, for its nodes."""
    import ray

    from pepo_rlhf.controller import cluster

    _require_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        raise ValueError(f"--cluster {address}: {str(problem).splitlines()[0]}") from problem
    try:
        yield from check_nodes(args, cluster.alive_nodes())
        free = int(ray.available_resources().get("GPU", 0))
        if free < required_gpus(args) <= int(ray.cluster_resources().get("GPU", 0)):
            yield warning(f"{free} GPUs are free now: the run waits until other jobs give theirs back")
    finally:
        ray.shutdown()

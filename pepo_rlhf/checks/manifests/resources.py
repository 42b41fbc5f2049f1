"""GPUs, CPUs, memory and /dev/shm of a manifest's pods, against what a run reserves."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks import placement
from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests.deployment import GPU, Deployment, Pods
from pepo_rlhf.checks.storage import shared_memory_bytes
from pepo_rlhf.config import Config
from pepo_rlhf.config.reservations import required_gpus


def check_gpus(config: Config, deployment: Deployment) -> Iterator[Finding]:
    """Yield what is wrong with the number of GPUs and CPUs: too few, too many, or not those that Ray is told of."""
    nodes = [pods.ray for pods in deployment.pods for _ in range(pods.count)]
    yield from placement.check_nodes(config, nodes)
    if deployment.driver_is_scheduled:
        yield warning(
            "entrypointNumGpus and entrypointNumCpus are for a driver that needs none, and leave the run less: "
            "leave them out"
        )
    if (idle := sum(node["GPU"] for node in nodes) - required_gpus(config)) > 0:
        yield warning(f"{idle:g} GPUs stay idle", "--actor.num_gpus_per_node", "--vllm.num_engines")
    for pods in deployment.pods:
        yield from _check_limit(pods)


def _check_limit(pods: Pods) -> Iterator[Finding]:
    """Yield what is wrong if the container's GPUs are not those that Ray is told of, and gives to actors."""
    told, limit = pods.ray["GPU"], pods.limits.get(GPU, 0)
    if "cpu" in pods.image.partition("@")[0].rpartition(":")[2].split("-"):  # a word of its tag; there GPUs are logical
        if limit:
            yield error(f"{pods.name}: image {pods.image} makes no use of its {limit:g} {GPU}: take the -gpu one")
    elif told > limit:
        yield error(
            f"{pods.name}: Ray is told of {told:g} GPUs (rayStartParams or resources), the container's limit is "
            f"{limit:g} {GPU}: make them equal, or take a -cpu image, in which GPUs are logical"
        )
    elif told < limit:
        yield warning(
            f"{pods.name}: Ray is told of {told:g} GPUs, the container's {limit:g} stay idle: make them equal"
        )


def check_shared_memory(inputs: Inputs, deployment: Deployment) -> Iterator[Finding]:
    """Yield an error for each worker group whose /dev/shm is smaller than the engines need."""
    for pods in deployment.pods[1:]:
        needed = shared_memory_bytes(inputs, on_gpus=GPU in pods.limits)
        if pods.shared_memory < needed:
            yield error(
                f"{pods.name}: /dev/shm has {pods.shared_memory / 2**30:.2f} GiB of memory, {needed / 2**30:.2f} GiB "
                "needed: mount an emptyDir of medium: Memory there, raise its sizeLimit and the container's memory"
            )

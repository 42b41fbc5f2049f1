"""The nodes of Ray that a manifest's pods will be, against what a run reserves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.manifests.parts import (
    GPU,
    Resource,
    cluster_spec,
    container_of,
    groups,
    limits_of,
    tag_words,
    worker_groups,
)
from pepo_rlhf.checks.manifests.quantity import quantity
from pepo_rlhf.checks.placement import check_nodes
from pepo_rlhf.config.reservations import required_gpus, shortfall

_MOST_NODES = 5000  # that Kubernetes supports in a cluster


def check_gpus(args: Any, cluster: Resource) -> Iterator[Finding]:
    """Enough GPUs and CPUs, and none for nothing."""
    nodes = [node_of(cluster_spec(cluster)["headGroupSpec"])]
    for group in worker_groups(cluster):
        nodes += [node_of(group)] * min(num_pods(group), _MOST_NODES)
    yield from check_nodes(args, nodes)
    if not shortfall(args, nodes):
        yield from _check_driver(args, cluster["spec"], nodes)
    if (idle := sum(node["GPU"] for node in nodes) - required_gpus(args)) > 0:
        yield warning(f"{idle:g} GPUs stay idle", "--actor.num_gpus_per_node", "--vllm.num_engines")


def _check_driver(args: Any, spec: Resource, nodes: list[dict[str, float]]) -> Iterator[Finding]:
    """What a job reserves for its driver must leave the run enough; the driver needs nothing."""
    driver = {"GPU": spec.get("entrypointNumGpus", 0), "CPU": spec.get("entrypointNumCpus", 0)}
    if not any(driver.values()):
        return
    asked = f"entrypointNumGpus {driver['GPU']:g} and entrypointNumCpus {driver['CPU']:g}, reserved for the driver,"
    place = next((node for node in reversed(nodes) if all(node[name] >= driver[name] for name in driver)), None)
    if place is None:
        yield error(f"{asked} are more than any pod has, and the job waits for ever: leave them out")
        return
    left = [*nodes, {name: place[name] - driver[name] for name in driver}]
    left.remove(place)
    if problem := shortfall(args, left):
        yield error(f"{asked} leave the run too little: leave them out ({problem})")


def check_limits(cluster: Resource) -> Iterator[Finding]:
    """Ray believes what it is told: without the GPUs behind it the actors find none once they are placed."""
    for group in groups(cluster):
        name, image = group.get("groupName", "head"), container_of(group).get("image", "")
        told, limit = node_of(group)["GPU"], quantity(limits_of(group).get(GPU, 0))
        if "cpu" in tag_words(image):  # there GPUs are logical
            if limit:
                yield error(f"{name}: image {image} makes no use of its {limit:g} {GPU}: take the -gpu one")
        elif told > limit:
            yield error(
                f"{name}: Ray is told of {told:g} GPUs (rayStartParams or resources), the container's limit is "
                f"{limit:g} {GPU}: make them equal, or take a -cpu image, in which GPUs are logical"
            )
        elif told < limit:
            yield warning(f"{name}: Ray is told of {told:g} GPUs, the container's {limit:g} stay idle: make them equal")


def check_replicas(cluster: Resource) -> Iterator[Finding]:
    """The operator would start another number than the one that stands there, without a word."""
    for group in worker_groups(cluster):
        least, most = _bounds(group)
        if not least <= group.get("replicas", least) <= most:
            yield error(
                f"{group['groupName']}: replicas {group['replicas']} is outside minReplicas {least} to maxReplicas "
                f"{most}, the operator starts {_replicas(group)}: make the three equal"
            )
        if num_pods(group) > _MOST_NODES:
            yield error(
                f"{group['groupName']}: {num_pods(group)} pods, and Kubernetes has {_MOST_NODES} nodes at most: lower "
                "replicas or numOfHosts"
            )


def num_pods(group: Resource) -> int:
    """Pods that the operator starts for a worker group."""
    return 0 if group.get("suspend") else _replicas(group) * group.get("numOfHosts", 1)


def _replicas(group: Resource) -> int:
    """As the operator counts: within the bounds, and the lower one unless given."""
    least, most = _bounds(group)
    return min(max(group.get("replicas", least), least), most)


def _bounds(group: Resource) -> tuple[int, int]:
    """The schema's defaults where they are absent, as they may be with autoscaling."""
    return group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)


def node_of(group: Resource) -> dict[str, float]:
    """Ray resources of a pod: the group's own, or else rayStartParams, or else the limits of its first container."""
    own, start, limits = group.get("resources", {}), group.get("rayStartParams", {}), limits_of(group)
    return {
        "GPU": quantity(own.get("GPU", start.get("num-gpus", limits.get(GPU, 0)))),
        "CPU": quantity(own.get("CPU", start.get("num-cpus", limits.get("cpu", 0)))),
    }

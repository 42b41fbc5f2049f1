"""The nodes of Ray that a manifest's pods will be, against what a run reserves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.manifest_shape import quantity
from pepo_rlhf.checks.operator_rules import Resource, cluster_spec, worker_groups
from pepo_rlhf.checks.placement import check_nodes
from pepo_rlhf.config.reservations import required_gpus

GPU = "nvidia.com/gpu"


def check_gpus(args: Any, cluster: Resource) -> Iterator[Finding]:
    """Enough GPUs and CPUs, and none for nothing."""
    nodes = [node_of(cluster_spec(cluster)["headGroupSpec"])]
    for group in worker_groups(cluster):
        nodes += [node_of(group)] * num_pods(group)
    yield from check_nodes(args, nodes)
    if (idle := sum(node["GPU"] for node in nodes) - required_gpus(args)) > 0:
        yield warning(f"{idle:g} GPUs stay idle", "--actor.num_gpus_per_node", "--vllm.num_engines")


def check_replicas(cluster: Resource) -> Iterator[Finding]:
    """The operator would start another number than the one that stands there, without a word."""
    for group in worker_groups(cluster):
        least, most = _bounds(group)
        if not least <= group.get("replicas", least) <= most:
            yield error(
                f"{group['groupName']}: replicas {group['replicas']} is outside minReplicas {least} to maxReplicas "
                f"{most}, the operator starts {_replicas(group)}: make the three equal"
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
    """Ray resources of a pod of this group: rayStartParams, or else the limits of its first container."""
    start, limits = group.get("rayStartParams", {}), container_of(group).get("resources", {}).get("limits", {})
    return {
        "GPU": quantity(start.get("num-gpus", limits.get(GPU, 0))),
        "CPU": quantity(start.get("num-cpus", limits.get("cpu", 0))),
    }


def container_of(group: Resource) -> Resource:
    """The Ray container, which is the first."""
    return group["template"]["spec"]["containers"][0]

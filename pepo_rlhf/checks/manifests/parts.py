"""Parts of RayJobs and RayClusters, as YAML has them, whose shape shape.py has looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Resource = dict[str, Any]

GPU = "nvidia.com/gpu"


def cluster_spec(resource: Resource) -> Resource:
    """The cluster that a RayCluster is, or that a RayJob starts; empty if it runs on one that exists."""
    return resource["spec"] if resource["kind"] == "RayCluster" else resource["spec"].get("rayClusterSpec") or {}


def worker_groups(resource: Resource) -> list[Resource]:
    """Worker groups of that cluster."""
    return cluster_spec(resource).get("workerGroupSpecs") or []


def groups(resource: Resource) -> list[Resource]:
    """Head group, then worker groups."""
    head = cluster_spec(resource).get("headGroupSpec")
    return [*([head] if head else []), *worker_groups(resource)]


def templates(resource: Resource) -> Iterator[tuple[str, Resource]]:
    """Pod templates of head, workers and submitter, each with its name."""
    for group in groups(resource):
        yield group.get("groupName", "head"), group["template"]
    if submitter := resource["spec"].get("submitterPodTemplate"):
        yield "submitter", submitter


def containers_of(template: Resource) -> list[Resource]:
    """Containers of a pod, those that run first among them."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def container_of(group: Resource) -> Resource:
    """The Ray container, which is the first."""
    return group["template"]["spec"]["containers"][0]


def limits_of(group: Resource) -> Resource:
    """Limits of the Ray container."""
    return container_of(group).get("resources", {}).get("limits", {})


def tag_words(image: str) -> list[str]:
    """Words between the dashes of an image's tag; what follows an @ is a digest."""
    return image.partition("@")[0].rpartition(":")[2].split("-")


def find(resources: list[Resource], kind: str) -> dict[str, Resource]:
    """Resources of a kind by name."""
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}

"""What the pods of a manifest run, and with which rights: images, GPUs, users and secrets."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks import versions
from pepo_rlhf.checks.finding import Finding, error
from pepo_rlhf.checks.manifest_nodes import GPU
from pepo_rlhf.checks.manifest_shape import quantity
from pepo_rlhf.checks.operator_rules import Resource, cluster_spec, groups
from pepo_rlhf.checks.secret_names import looks_secret


def pods_of(cluster: Resource) -> dict[str, Resource]:
    """Pod specs of head, workers and submitter by name."""
    pods = {group.get("groupName", "head"): group["template"]["spec"] for group in groups(cluster)}
    if submitter := cluster["spec"].get("submitterPodTemplate"):
        pods["submitter"] = submitter["spec"]
    return pods


def check_image(cluster: Resource) -> Iterator[Finding]:
    """Client, head and workers must run one Ray, the one that setup.py pins."""
    pinned, stated = versions.pinned_version("ray"), cluster_spec(cluster).get("rayVersion")
    if stated != pinned:
        yield error(f"rayVersion is {stated}, setup.py pins ray {pinned}: write the pinned one")
    images = sorted({pod["containers"][0].get("image", "") for pod in pods_of(cluster).values()})
    if len(images) > 1:
        yield error(f"head, workers and submitter run different images: {', '.join(images)}: give them one")
    for image in images:
        if f"ray{pinned}" not in image.rpartition(":")[2].split("-"):
            yield error(f"the tag of image {image} does not say ray{pinned}, the version that setup.py pins")


def check_pods(cluster: Resource) -> Iterator[Finding]:
    """No pod asks for what Kubernetes refuses, runs as root or tells a secret."""
    for name, pod in pods_of(cluster).items():
        yield from _check_user(f"{name}: the pod", pod)
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            where = f"{name}: container {container['name']}"
            yield from _check_user(where, container)
            yield from _check_gpu_request(where, container.get("resources", {}))
            yield from _check_secrets(where, container.get("env", []))


def _check_user(where: str, secured: Resource) -> Iterator[Finding]:
    if secured.get("securityContext", {}).get("runAsUser") == 0:
        yield error(f"{where} runs as root: set securityContext.runAsUser to 1000, the user of Ray's images")


def _check_gpu_request(where: str, resources: Resource) -> Iterator[Finding]:
    """Kubernetes shares no GPU: it refuses a request that is not the limit, or that has none."""
    asked, limit = (resources.get(side, {}).get(GPU) for side in ("requests", "limits"))
    if asked is not None and (limit is None or quantity(asked) != quantity(limit)):
        yield error(f"{where} requests {asked} {GPU}, its limit is {limit or 'absent'}: give both the same number")


def _check_secrets(where: str, env: list[Resource]) -> Iterator[Finding]:
    for variable in env:
        if looks_secret(variable["name"]) and variable.get("value"):
            yield error(f"{where} has the value of {variable['name']} in it: take it from a secretKeyRef")

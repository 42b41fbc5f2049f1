"""What must outlive a pod lies on a claim that every pod can mount, and volumes are large enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifest_nodes import GPU, container_of, num_pods
from pepo_rlhf.checks.manifest_shape import quantity
from pepo_rlhf.checks.operator_rules import Resource, groups, worker_groups
from pepo_rlhf.checks.storage import checkpoint_bytes, model_bytes, shared_memory_bytes

Mounts = dict[str, Resource]


def mounts_of(group: Resource) -> Mounts:
    """Volumes of the Ray container by the path that they are mounted at; empty where the pod does not have it."""
    volumes, mounts = volumes_of(group), container_of(group).get("volumeMounts", [])
    return {str(PurePosixPath(mount["mountPath"])): volumes.get(mount["name"], {}) for mount in mounts}


def volumes_of(group: Resource) -> dict[str, Resource]:
    """Volumes of the pod by name."""
    return {volume["name"]: volume for volume in group["template"]["spec"].get("volumes", [])}


def find(resources: list[Resource], kind: str) -> dict[str, Resource]:
    """Resources of a kind by name."""
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def check_volumes(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """Whatever is mounted is there."""
    claims, maps = find(resources, "PersistentVolumeClaim"), find(resources, "ConfigMap")
    for group in groups(cluster):
        name = group.get("groupName", "head")
        for path, volume in mounts_of(group).items():
            claim, config_map = _claim_of(volume), volume.get("configMap", {}).get("name")
            if not volume:
                yield error(f"{name}: the mount at {path} names a volume that the pod does not have: add it to volumes")
            elif claim and claim not in claims:
                yield warning(f"{name}: claim {claim} at {path} is not among the manifests; it must exist")
            elif config_map and config_map not in maps:
                yield error(f"{name}: ConfigMap {config_map} at {path} is not among the manifests: add it")


def check_folders(args: Any, cluster: Resource) -> Iterator[Finding]:
    """Run and downloads outlive the pods."""
    for group in groups(cluster):
        name, mounts = group.get("groupName", "head"), mounts_of(group)
        if not _claim_at(args.run.dir, mounts):
            yield error(f"{name}: --run.dir {args.run.dir} is on no persistent volume: it is lost with the pod")
        home = next((var.get("value") for var in container_of(group).get("env", []) if var["name"] == "HF_HOME"), None)
        if not (home and _claim_at(home, mounts)):
            yield warning(f"{name}: HF_HOME is on no persistent volume: every pod downloads model and data again")


def check_access(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """A claim without ReadWriteMany binds every pod that mounts it to one node."""
    for name, claim in find(resources, "PersistentVolumeClaim").items():
        mounting = [group for group in worker_groups(cluster) if name in map(_claim_of, mounts_of(group).values())]
        if not mounting or "ReadWriteMany" in claim["spec"]["accessModes"]:
            continue
        modes, num_workers = ", ".join(claim["spec"]["accessModes"]), sum(map(num_pods, mounting))
        if num_workers > 1:
            yield error(f"claim {name} is {modes} and {num_workers} workers mount it: make it ReadWriteMany")
        elif any(GPU in container_of(group).get("resources", {}).get("limits", {}) for group in mounting):
            yield warning(f"claim {name} is {modes}: head and worker must share a node; or make it ReadWriteMany")


def check_sizes(inputs: Inputs, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """The run's claim holds model and checkpoints; /dev/shm what the engines need of it."""
    head, *workers = groups(cluster)
    claim = find(resources, "PersistentVolumeClaim").get(_claim_at(inputs.args.run.dir, mounts_of(head)))
    if claim:
        yield from _check_claim(claim, model_bytes(inputs) + checkpoint_bytes(inputs))
    for group in workers:
        on_gpus = GPU in container_of(group).get("resources", {}).get("limits", {})
        yield from _check_shared_memory(group, shared_memory_bytes(inputs, on_gpus))


def _check_claim(claim: Resource, needed: int) -> Iterator[Finding]:
    storage = claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0")
    if quantity(storage) < needed:
        yield error(
            f"claim {claim['metadata']['name']} of {storage}, model and checkpoints take up to {needed / 2**30:.2f} "
            "GiB: raise its storage, or lower --ckpt.max_num"
        )


def _check_shared_memory(group: Resource, needed: int) -> Iterator[Finding]:
    """Unless mounted, KubeRay gives /dev/shm the container's memory."""
    memory = container_of(group).get("resources", {}).get("limits", {}).get("memory", "0")
    memory = mounts_of(group).get("/dev/shm", {}).get("emptyDir", {}).get("sizeLimit", memory)
    if quantity(memory) < needed:
        yield error(f"{group['groupName']}: /dev/shm of {memory}, {needed / 2**30:.2f} GiB needed: raise its sizeLimit")


def _claim_at(path: str, mounts: Mounts) -> str:
    """The claim that a path lies on, or nothing."""
    parents = [str(parent) for parent in (PurePosixPath(path), *PurePosixPath(path).parents)]
    return _claim_of(next((mounts[parent] for parent in parents if parent in mounts), {}))


def _claim_of(volume: Resource) -> str:
    return volume.get("persistentVolumeClaim", {}).get("claimName", "")

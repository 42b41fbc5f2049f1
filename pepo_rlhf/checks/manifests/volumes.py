"""What must outlive a pod lies on a claim that every pod can mount and write to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.manifests.nodes import num_pods
from pepo_rlhf.checks.manifests.parts import GPU, Resource, container_of, find, groups, limits_of

_SHARED_MODES = {"ReadWriteMany", "ReadOnlyMany"}


class Mount(NamedTuple):
    """A volume, empty where the pod does not have it, and what of it the Ray container sees."""

    volume: Resource
    sub_path: str
    read_only: bool

    @property
    def claim(self) -> str:
        return self.volume.get("persistentVolumeClaim", {}).get("claimName", "")


class Place(NamedTuple):
    """Where a path lies: its claim, or none, and the path on it."""

    claim: str
    path: PurePosixPath
    read_only: bool


def mounts_of(group: Resource) -> dict[str, Mount]:
    """Mounts of the Ray container by their paths."""
    volumes, mounts = volumes_of(group), {}
    for mount in container_of(group).get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        read_only = mount.get("readOnly", False) or volume.get("persistentVolumeClaim", {}).get("readOnly", False)
        mounts[str(PurePosixPath(mount["mountPath"]))] = Mount(volume, mount.get("subPath", ""), read_only)
    return mounts


def volumes_of(group: Resource) -> dict[str, Resource]:
    """Volumes of the pod by name."""
    return {volume["name"]: volume for volume in group["template"]["spec"].get("volumes", [])}


def place_of(path: str, group: Resource) -> Place:
    """Where a path of the Ray container lies."""
    mounts = mounts_of(group)
    for parent in (PurePosixPath(path), *PurePosixPath(path).parents):
        if mount := mounts.get(str(parent)):
            inner = PurePosixPath(mount.sub_path, PurePosixPath(path).relative_to(parent))
            return Place(mount.claim, inner, mount.read_only)
    return Place("", PurePosixPath(path), False)


def check_volumes(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """Whatever is mounted is there, once."""
    claims, maps = find(resources, "PersistentVolumeClaim"), find(resources, "ConfigMap")
    for group in groups(cluster):
        name = group.get("groupName", "head")
        mounts = Counter(mount["mountPath"] for mount in container_of(group).get("volumeMounts", []))
        twice = mounts + Counter(volume["name"] for volume in group["template"]["spec"].get("volumes", []))
        for repeated in (repeated for repeated, count in twice.items() if count > 1):
            yield error(f"{name}: {repeated} is there twice, and Kubernetes refuses the pod: keep one of them")
        for path, mount in mounts_of(group).items():
            config_map = mount.volume.get("configMap", {}).get("name")
            if not mount.volume:
                yield error(f"{name}: the mount at {path} names a volume that the pod does not have: add it to volumes")
            elif mount.claim and mount.claim not in claims:
                yield warning(f"{name}: claim {mount.claim} at {path} is not among the manifests; it must exist")
            elif config_map and config_map not in maps:
                yield error(f"{name}: ConfigMap {config_map} at {path} is not among the manifests: add it")


def check_folders(args: Any, cluster: Resource) -> Iterator[Finding]:
    """Run and downloads outlive the pods, and every pod sees the same run."""
    head = place_of(args.run.dir, groups(cluster)[0])
    for group in groups(cluster):
        name, place = group.get("groupName", "head"), place_of(args.run.dir, group)
        if not place.claim:
            yield error(f"{name}: --run.dir {args.run.dir} is on no persistent volume: it is lost with the pod")
        elif place.read_only:
            yield error(f"{name}: --run.dir {args.run.dir} is mounted read-only: leave readOnly out")
        elif head.claim and place[:2] != head[:2]:
            yield error(
                f"{name}: --run.dir {args.run.dir} is {place.path} of claim {place.claim}, for the head {head.path} of "
                f"{head.claim}: mount the same, as workers write checkpoints that the head looks for"
            )
        home = variable_of(group, "HF_HOME")
        if not (home and place_of(home, group).claim):
            yield warning(f"{name}: HF_HOME is on no persistent volume: every pod downloads model and data again")


def variable_of(group: Resource, name: str) -> str | None:
    """Value of an environment variable of the Ray container, as the manifest has it."""
    return next((var.get("value") for var in container_of(group).get("env", []) if var["name"] == name), None)


def check_access(args: Any, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """A claim without ReadWriteMany binds every pod that mounts it to one node."""
    head, *workers = groups(cluster)
    for name, claim in find(resources, "PersistentVolumeClaim").items():
        modes, modes_text = set(claim["spec"]["accessModes"]), ", ".join(claim["spec"]["accessModes"])
        mounting = [group for group in workers if _mounts_claim(group, name)]
        num_workers = sum(map(num_pods, mounting))
        if modes == {"ReadOnlyMany"} and place_of(args.run.dir, head).claim == name:
            yield error(f"claim {name} is {modes_text}, and --run.dir is written to: make it ReadWriteMany")
        elif not mounting or modes & _SHARED_MODES:
            continue
        elif "ReadWriteOncePod" in modes and num_workers + _mounts_claim(head, name) > 1:
            yield error(f"claim {name} is {modes_text} and several pods mount it: make it ReadWriteMany")
        elif num_workers > 1:
            yield error(f"claim {name} is {modes_text} and {num_workers} workers mount it: make it ReadWriteMany")
        elif any(GPU in limits_of(group) for group in mounting):
            yield warning(f"claim {name} is {modes_text}: head and worker must share a node; or make it ReadWriteMany")


def _mounts_claim(group: Resource, claim: str) -> bool:
    return any(mount.claim == claim for mount in mounts_of(group).values())

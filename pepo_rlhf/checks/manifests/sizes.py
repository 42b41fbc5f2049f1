"""Claims and /dev/shm of a manifest are large enough, and of the right kind."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests.parts import GPU, Resource, find, groups, limits_of
from pepo_rlhf.checks.manifests.quantity import quantity
from pepo_rlhf.checks.manifests.volumes import mounts_of, place_of, variable_of
from pepo_rlhf.checks.storage import checkpoint_bytes, model_bytes, shared_memory_bytes

_BYTES_ON_THE_HUB = 2  # of a parameter: models are published in 16 bits


def check_shared_memory(cluster: Resource) -> Iterator[Finding]:
    """A volume at /dev/shm is memory, and no more than the container has: what lies there counts against its limit."""
    for group in groups(cluster):
        name, memory, volume = group.get("groupName", "head"), limits_of(group).get("memory"), _shared_memory(group)
        if volume is not None and volume.get("medium") != "Memory":
            yield warning(f"{name}: /dev/shm lies on the node's disk: set medium: Memory of its emptyDir")
        size = (volume or {}).get("sizeLimit")
        if size and memory and quantity(size) > quantity(memory):
            yield warning(f"{name}: /dev/shm of {size} exceeds the container's memory of {memory}: lower its sizeLimit")


def check_sizes(inputs: Inputs, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """The run's claim holds model and checkpoints, HF_HOME's a download; /dev/shm what the engines need of it."""
    head, *workers = groups(cluster)
    claims = find(resources, "PersistentVolumeClaim")
    if claim := claims.get(place_of(inputs.args.run.dir, head).claim):
        needed = model_bytes(inputs) + checkpoint_bytes(inputs)
        yield from _check_claim(claim, "model and checkpoints take", needed, ", or lower --ckpt.max_num")
    on_the_hub = not os.path.isabs(inputs.args.actor.model_name_or_path)
    if on_the_hub and (cache := claims.get(place_of(variable_of(head, "HF_HOME") or "", head).claim)):
        yield from _check_claim(cache, "the download of the model takes", _BYTES_ON_THE_HUB * inputs.num_parameters)
    for group in workers:
        yield from _check_room(group, shared_memory_bytes(inputs, on_gpus=GPU in limits_of(group)))


def _check_claim(claim: Resource, takes: str, needed: int, instead: str = "") -> Iterator[Finding]:
    storage = claim["spec"].get("resources", {}).get("requests", {}).get("storage", "0")
    if quantity(storage) < needed:
        yield error(
            f"claim {claim['metadata']['name']} of {storage}, {takes} up to {needed / 2**30:.2f} GiB: raise its "
            f"storage{instead}"
        )


def _check_room(group: Resource, needed: int) -> Iterator[Finding]:
    """Unless mounted, KubeRay gives /dev/shm the container's memory."""
    sizes = [(_shared_memory(group) or {}).get("sizeLimit"), limits_of(group).get("memory")]
    smallest = min((size for size in sizes if size), key=quantity, default="0")
    if quantity(smallest) < needed:
        yield error(
            f"{group['groupName']}: /dev/shm of {smallest}, {needed / 2**30:.2f} GiB needed: raise its sizeLimit, and "
            "the container's memory above that"
        )


def _shared_memory(group: Resource) -> Resource | None:
    """The emptyDir at /dev/shm, if there is one."""
    mount = mounts_of(group).get("/dev/shm")
    return mount.volume.get("emptyDir") if mount else None

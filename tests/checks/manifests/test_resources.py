"""A shipped manifest whose pods have too few GPUs or CPUs, or too little memory, for the run."""

from __future__ import annotations

import re

import pytest

TWO_BOXES = ["--actor.num_nodes", "2", "--ref.num_nodes", "2", "--vllm.num_engines", "16"]
GPUS_OF_THE_HEAD = [
    (rf"({part}:\n +cpu: '4'\n +memory: 16Gi)", r"\1\n                nvidia.com/gpu: '8'")
    for part in ("requests", "limits")
]
WORKER = "RayJob spec.rayClusterSpec.workerGroupSpecs[0].template.spec"
SHARED = f"{WORKER}.volumes[3].emptyDir"


@pytest.mark.parametrize(
    ("flags", "texts", "expected"),
    [
        (TWO_BOXES, [], "error: the run reserves 16 GPUs .* the Ray cluster has 8"),
        ([], [("nvidia.com/gpu: '8'", "nvidia.com/gpu: '4'")], "error: the run reserves 8 GPUs .* has 4"),
        ([], [("cpu: '32'", "cpu: '6'")], "error: .* has 8 GPUs, of which 6 have a CPU beside them"),
        ([], [("eplicas: 1", "eplicas: 2")], "warning: 8 GPUs stay idle"),
        (
            [],
            [("eplicas: 1", f"eplicas: {10**12}")],
            "warning: 39992 GPUs stay idle",
        ),  # 5000 nodes of 8 at most, less 8
        ([], [(" replicas: 1\n", " suspend: true\n")], "error: the run reserves 8 GPUs .* has 0"),
        # Replicas lie within their bounds, as the operator counts.
        ([], [(" replicas: 1", " replicas: 0"), ("minReplicas: 1", "minReplicas: 0")], "error: .* has 0"),
        ([], [("maxReplicas: 1", "maxReplicas: 0")], "error: .* has 0"),
        # The driver, and what Ray is told.
        (
            [],
            [("backoffLimit: 2\n  entry", "entrypointNumGpus: 1\n  entry")],
            "warning: entrypointNumGpus and .* leave",
        ),
        (
            [],
            [("rayStartParams: {}", "rayStartParams: {num-gpus: '8'}"), ("nvidia.com/gpu: '8'", "nvidia.com/gpu: '4'")],
            "error: gpu: Ray is told of 8 GPUs .*, the container's limit is 4 nvidia.com/gpu",
        ),
        (
            [],
            [("rayStartParams: {}", "rayStartParams: {num-gpus: '8'}"), (" +nvidia.com/gpu: '8'\n", "")],
            "error: gpu: Ray is told of 8 GPUs .*, the container's limit is 0 nvidia.com/gpu",
        ),
        ([], [("rayStartParams: {}", "resources: {GPU: '4'}")], "error: the run reserves 8 GPUs .* has 4"),
        ([], [("rayStartParams: {}", "resources: {GPU: '16'}")], "error: gpu: Ray is told of 16 GPUs .* limit is 8"),
        ([], GPUS_OF_THE_HEAD, "warning: head: Ray is told of 0 GPUs, the container's 8 stay idle"),
        ([], [("ray2.55.0-gpu", "ray2.55.0-cpu")], "error: gpu: image .*-cpu makes no use of its 8 nvidia.com/gpu"),
    ],
)
def test_what_the_pods_lack_is_found(check_overlay, flags, texts, expected):
    found = check_overlay(*flags, texts=texts)
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    "texts",
    [
        [(" replicas: 1\n", " suspend: false\n")],  # absent replicas are minReplicas
        [(" replicas: 1\n", " replicas: 9\n")],  # more than maxReplicas are maxReplicas
        [(r"requests:\n.*\n.*\n +nvidia.com/gpu: '8'", "requests: {}")],  # Ray is told of limits
        [("rayStartParams: {}", "rayStartParams: {num-gpus: '8'}")],
        [("ray2.55.0-gpu", "ray2.55.0-gpu@sha256:0123-cpu")],  # a digest is no tag
    ],
)
def test_what_suffices_is_left_alone(check_overlay, texts):
    assert check_overlay(texts=texts) == []


@pytest.mark.parametrize(
    ("fields", "has"),
    [
        ([(f"{SHARED}.sizeLimit", "64Mi")], "0.06"),
        ([(f"{SHARED}.medium", None)], "0.00"),  # then it is on the node's disk
        ([(f"{WORKER}.containers[0].resources.limits.memory", "512Mi")], "0.50"),  # against which /dev/shm counts
        # Not mounted, it is as large as the container's memory.
        (
            [
                (f"{WORKER}.containers[0].volumeMounts[3].mountPath", "/elsewhere"),
                (f"{WORKER}.containers[0].resources.limits.memory", "256Mi"),
            ],
            "0.25",
        ),
    ],
)
def test_shared_memory_below_a_gibibyte_is_an_error(check_overlay, fields, has):
    (found,) = check_overlay(fields=fields)
    assert found.startswith(f"error: gpu: /dev/shm has {has} GiB of memory, 1.00 GiB needed: mount an emptyDir")


@pytest.mark.parametrize(
    "fields",
    [
        [(f"{SHARED}.sizeLimit", None)],  # then it is as large as the container's memory
        [(f"{WORKER}.containers[0].volumeMounts[3].mountPath", "/elsewhere")],
    ],
)
def test_shared_memory_without_a_limit_is_the_containers(check_overlay, fields):
    assert check_overlay(fields=fields) == []

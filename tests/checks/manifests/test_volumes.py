"""A shipped manifest whose volumes lose the run, hide it from a pod, or are too small."""

from __future__ import annotations

import re

import pytest

CLUSTER = "RayJob spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec.template.spec"
WORKER = f"{CLUSTER}.workerGroupSpecs[0].template.spec"
RUNS = {"mountPath": "/mnt/runs", "name": "runs"}
MODES = "PersistentVolumeClaim spec.accessModes"
SHARED = f"{WORKER}.volumes[3].emptyDir"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Four copies of 4e9 parameters x (2 + 12) bytes and the model of 8e9: 232e9 bytes or 216.07 GiB.
        (
            [("PersistentVolumeClaim spec.resources.requests.storage", "216Gi")],
            "error: claim pepo-rlhf-runs of 216Gi, .* up to 216.07 GiB",
        ),
        # 4e9 parameters of 2 bytes: 8e9 bytes or 7.45 GiB.
        (
            [("PersistentVolumeClaim spec.resources.requests.storage", "7Gi")],
            "error: claim pepo-rlhf-cache of 7Gi, the download of the model takes up to 7.45 GiB: raise its storage$",
        ),
        ([(f"{WORKER}.containers[0].volumeMounts[2]", RUNS)], "error: gpu: /mnt/runs is there twice, and Kubernetes"),
        (
            [(f"{WORKER}.volumes[2].name", "runs"), (f"{WORKER}.containers[0].volumeMounts[2].name", "runs")],
            "error: gpu: runs is there twice, and Kubernetes refuses the pod: keep one of them",
        ),
        ([(f"{HEAD}.containers[0].volumeMounts[1]", RUNS | {"readOnly": True})], "error: head: .* mounted read-only"),
        (
            [(f"{WORKER}.volumes[1].persistentVolumeClaim.readOnly", True)],
            "error: gpu: --run.dir /mnt/runs/.* is mounted read-only",
        ),
        (
            [(f"{WORKER}.volumes[1].persistentVolumeClaim.claimName", "pepo-rlhf-cache")],
            "error: gpu: --run.dir .* of claim pepo-rlhf-cache, for the head .* of pepo-rlhf-runs: mount the same",
        ),
        (
            [(f"{WORKER}.containers[0].volumeMounts[1]", RUNS | {"subPath": "worker"})],
            "error: gpu: --run.dir .* is worker/geometry3k.* of claim pepo-rlhf-runs, for the head geometry3k",
        ),
        ([(MODES, ["ReadWriteOnce"])], "warning: claim pepo-rlhf-runs is ReadWriteOnce: head and worker must"),
        (
            [(MODES, ["ReadWriteOnce"])]
            + [(f"{CLUSTER}.workerGroupSpecs[0].{field}eplicas", 2) for field in ("r", "minR", "maxR")],
            "error: claim pepo-rlhf-cache is ReadWriteOnce and 2 workers mount it",
        ),
        ([(MODES, ["ReadWriteOncePod"])], "error: claim pepo-rlhf-runs is ReadWriteOncePod and several pods mount it"),
        ([(MODES, ["ReadOnlyMany"])], "error: claim pepo-rlhf-runs is ReadOnlyMany, and --run.dir is written to"),
        # /dev/shm.
        ([(f"{SHARED}.sizeLimit", "64Mi")], "error: gpu: /dev/shm of 64Mi, 1.00 GiB needed"),
        ([(f"{SHARED}.medium", None)], "warning: gpu: /dev/shm lies on the node's disk: set medium: Memory"),
        ([(f"{SHARED}.sizeLimit", "513Gi")], "warning: gpu: /dev/shm of 513Gi exceeds the container's memory of 512Gi"),
        ([(f"{HEAD}.volumes[3].emptyDir.sizeLimit", "17Gi")], "warning: head: /dev/shm of 17Gi exceeds .* of 16Gi"),
    ],
)
def test_what_a_volume_does_not_hold_is_found(check_overlay, fields, expected):
    found = check_overlay(fields=fields)
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    "fields",
    [
        [("PersistentVolumeClaim spec.resources.requests.storage", "217Gi")],
        [(MODES, ["ReadWriteOnce", "ReadWriteMany"])],
        [(f"{SHARED}.sizeLimit", None)],  # then it is as large as the container's memory
        # The same folder of the claim, mounted in two ways.
        [
            ("RayJob spec.entrypoint", "python -m pepo_rlhf.train --config /etc/pepo-rlhf/train.yaml"),
            (f"{HEAD}.containers[0].volumeMounts[1]", RUNS | {"mountPath": "/mnt"}),
            (f"{WORKER}.containers[0].volumeMounts[1]", RUNS | {"subPath": "runs"}),
        ],
    ],
)
def test_what_holds_is_left_alone(check_overlay, fields):
    assert check_overlay(fields=fields) == []

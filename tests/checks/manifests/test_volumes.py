"""A shipped manifest whose volumes lose the run, hide it from a pod, or are too small."""

from __future__ import annotations

import re

import pytest

CLUSTER = "RayJob spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec.template.spec"
WORKER = f"{CLUSTER}.workerGroupSpecs[0].template.spec"
RUNS = {"mountPath": "/mnt/runs", "name": "runs"}
MODES = "PersistentVolumeClaim spec.accessModes"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Four copies of 4e9 parameters x (2 + 12) bytes and the model of 8e9: 232e9 bytes or 216.07 GiB.
        (
            [("PersistentVolumeClaim spec.resources.requests.storage", "216Gi")],
            "error: claim pepo-rlhf-runs has 216.00 GiB, the run writes up to 216.07 GiB of models and",
        ),
        # 4e9 parameters of 2 bytes: 8e9 bytes or 7.45 GiB.
        (
            [("PersistentVolumeClaim spec.resources.requests.storage", "7Gi")],
            "error: claim pepo-rlhf-cache has 7.00 GiB, the run writes up to 7.45 GiB of models",
        ),
        ([(f"{WORKER}.volumes[1].persistentVolumeClaim", None)], "error: gpu: --run.dir /mnt/runs/.* is lost with"),
        ([(f"{HEAD}.containers[0].volumeMounts[1].mountPath", "/mnt/elsewhere")], "error: head: --run.dir .* is lost"),
        ([(f"{HEAD}.containers[0].env[0].value", "/tmp/cache")], "warning: head: HF_HOME is on no persistent volume"),
        ([(f"{HEAD}.containers[0].env[0].name", "OTHER")], "warning: head: HF_HOME is on no persistent volume"),
        (
            [(f"{pod}.volumes[1].persistentVolumeClaim.claimName", "other") for pod in (HEAD, WORKER)],
            "warning: claim other is not among the manifests: it must exist",
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
            "error: claim pepo-rlhf-cache is ReadWriteOnce, and the head and every worker write to it",
        ),
        ([(MODES, ["ReadWriteOncePod"])], "error: claim pepo-rlhf-runs is ReadWriteOncePod, and the head and every"),
        ([(MODES, ["ReadOnlyMany"])], "error: claim pepo-rlhf-runs is ReadOnlyMany, and .* write to it"),
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
        # The same folder of the claim, mounted in two ways.
        [
            (f"{HEAD}.containers[0].volumeMounts[1]", RUNS | {"mountPath": "/mnt"}),
            (f"{WORKER}.containers[0].volumeMounts[1]", RUNS | {"subPath": "runs"}),
        ],
    ],
)
def test_what_holds_is_left_alone(check_overlay, fields):
    assert check_overlay(fields=fields) == []

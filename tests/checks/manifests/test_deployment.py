"""A shipped manifest whose pods ask for what they cannot have, may be root, or tell a secret."""

from __future__ import annotations

import re

import pytest

CLUSTER = "RayJob spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec.template.spec"
WORKER = f"{CLUSTER}.workerGroupSpecs[0].template.spec"
CONTAINER = f"{WORKER}.containers[0]"
LIMITS, REQUESTS = f"{CONTAINER}.resources.limits", f"{CONTAINER}.resources.requests"
AMOUNTS = {"cpu": "32", "memory": "512Gi", "nvidia.com/gpu": "8"}
RUN = "python -m pepo_rlhf.train --config /etc/pepo-rlhf/train.yaml"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (REQUESTS, AMOUNTS | {"nvidia.com/gpu": "4"}, "error: gpu: .* requests 4 nvidia.com/gpu, its limit is 8"),
        (LIMITS, {"cpu": "32", "memory": "512Gi"}, "error: gpu: .* requests 8 nvidia.com/gpu, its limit is absent"),
        (REQUESTS, AMOUNTS | {"memory": "1Ti"}, "error: gpu: .* requests 1Ti memory, its limit is 512Gi: lower"),
        (f"{HEAD}.securityContext.runAsUser", 0, "error: head: container ray-head runs as root"),
        ("RayJob spec.submitterPodTemplate.spec.securityContext", None, "warning: submitter: .* if its image says so"),
        (f"{HEAD}.securityContext.runAsNonRoot", False, "warning: head: container ray-head runs as root if its image"),
        (f"{CONTAINER}.securityContext", {"runAsUser": 0}, "error: gpu: container ray-worker runs as root"),
        (f"{CONTAINER}.securityContext", {"privileged": True}, "error: gpu: container ray-worker is privileged"),
        (
            f"{HEAD}.serviceAccountName",
            "trainer",
            "warning: head: serviceAccountName trainer is not among the manifests",
        ),
        # Secrets.
        (f"{HEAD}.containers[0].env[2]", {"name": "HF_TOKEN", "value": "hf_abc"}, "error: head: .* value of HF_TOKEN"),
        (f"{CONTAINER}.args", ["export HF_TOKEN=hf_abc"], "error: gpu: container ray-worker has the value of HF_TOKEN"),
        (f"{CONTAINER}.command", ["env", "A=$B", "X_KEY='k'"], "error: gpu: container ray-worker has .* of X_KEY"),
        (
            "RayJob spec.entrypoint",
            "HF_TOKEN=hf_abc python -m x",
            r"error: spec.entrypoint 'HF_TOKEN=\*\*\* python -m x' does",
        ),
        ("RayJob spec.entrypoint", f"WANDB_API_KEY=abc {RUN}", "error: spec.entrypoint has the value of WANDB_API_KEY"),
        (
            "RayJob spec.runtimeEnvYAML",
            "env_vars:\n  HF_TOKEN: hf_abc",
            "error: spec.runtimeEnvYAML has .* of HF_TOKEN",
        ),
        ("RayJob spec.runtimeEnvYAML", '{"env_vars": {"HF_TOKEN": "hf_abc"}}', "error: .* the value of HF_TOKEN"),
        (
            "ConfigMap data",
            {"WANDB_API_KEY": "abc"},
            "error: ConfigMap/.*: data.WANDB_API_KEY has the value of WANDB_API",
        ),
        ("ConfigMap data", {"run.sh": "HF_TOKEN=hf_abc"}, "error: ConfigMap/.*: data.run.sh has the value of HF_TOKEN"),
    ],
)
def test_what_a_pod_may_not_is_found(check_overlay, field, value, expected):
    found = check_overlay(fields=[(field, value)])
    assert any(re.match(expected, line) for line in found), found
    assert not any("abc" in line for line in found)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (f"{CONTAINER}.securityContext", {"runAsUser": 1000, "allowPrivilegeEscalation": False}),
        (f"{CONTAINER}.resources", {"limits": AMOUNTS}),
        (f"{HEAD}.serviceAccountName", "default"),
        (f"{CONTAINER}.args", ["HF_TOKEN=$(cat /run/secrets/token)", 'HF_TOKEN="$HF_TOKEN"', "# HF_TOKEN: from there"]),
        ("RayJob spec.entrypoint", f"TOKENIZERS_PARALLELISM=false MAX_TOKENS=8 {RUN}"),
        ("RayJob spec.runtimeEnvYAML", "env_vars: {NCCL_DEBUG: INFO}"),
        ("ConfigMap data.rewards", "# TOKEN: see the secret"),
    ],
)
def test_what_a_pod_may_is_left_alone(check_overlay, field, value):
    assert check_overlay(fields=[(field, value)]) == []


def test_a_constant_of_a_rewards_file_is_no_secret(check_overlay):
    assert check_overlay(texts=[("\ndata:\n", "\ndata:\n  rewards.py: 'KEY = 1'\n")]) == []

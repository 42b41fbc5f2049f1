"""A shipped manifest, deliberately broken, against the run that it starts."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pepo_rlhf.checks.manifests import manifest
from pepo_rlhf.config import parse_arguments, to_arguments

OVERLAY = Path(__file__).parents[3] / "k8s" / "overlays" / "single-node"


def test_as_shipped_there_is_nothing_to_say(check_overlay):
    assert check_overlay() == []


TWO_BOXES = ["--actor.num_nodes", "2", "--ref.num_nodes", "2", "--vllm.num_engines", "16", "--train.micro_batch_size"]
ENTRYPOINT = "python -m pepo_rlhf.train --config /etc/pepo-rlhf/train.yaml"
QUEUE = "kueue.x-k8s.io/queue-name"
CONFIG_MAP = r"(kind: ConfigMap\nmetadata:\n  name: pepo-rlhf-config)"


@pytest.mark.parametrize(
    ("flags", "texts", "expected"),
    [
        ([*TWO_BOXES, "2"], [], "error: the run reserves 16 GPUs .* the Ray cluster has 8"),
        ([], [("nvidia.com/gpu: '8'", "nvidia.com/gpu: '4'")], "error: the run reserves 8 GPUs .* has 4"),
        ([], [("eplicas: 1", "eplicas: 2")], "warning: 8 GPUs stay idle"),
        ([], [("rayVersion: 2.55.0", "rayVersion: 2.54.0")], "error: rayVersion is 2.54.0, setup.py pins ray 2.55.0"),
        ([], [("ray2.55.0-gpu", "ray2.54.0-gpu")], "error: the tag of image .* does not say ray2.55.0"),
        ([], [("mountPath: /mnt/runs", "mountPath: /mnt/elsewhere")], "error: head: --run.dir /mnt/runs/.* is lost"),
        (["--run.dir", "/tmp/run"], [], "error: gpu: --run.dir /tmp/run is on no persistent volume"),
        ([], [("value: /mnt/cache", "value: /tmp/cache")], "warning: head: HF_HOME is on no persistent volume"),
        ([], [("claimName: pepo-rlhf-runs", "claimName: other")], "warning: head: claim other at /mnt/runs is not"),
        ([], [("sizeLimit: 128Gi", "sizeLimit: 64Mi")], "error: gpu: /dev/shm of 64Mi, 1.00 GiB needed"),
        (["--ckpt.save_steps", "-1"], [], "warning: each retry of backoffLimit would begin anew"),
        (
            ["--pepo.alpha", "0.1"],
            [],
            "warning: what entrypoint .* differs from the settings .* --pepo.settings.alpha$",
        ),
        ([], [("submissionMode: K8sJobMode", "submissionMode: K8JobMode")], "error: spec.submissionMode"),
        ([], [(" alpha: 0.05", " alhpa: 0.05")], "error: spec.entrypoint starts no run: --pepo.settings.alhpa"),
        ([], [(r"- name: runs(\n +persistent)", r"- name: other\1")], "error: .* names a volume"),
        ([], [("headGroupSpec:", "headGroup:")], "error: spec.rayClusterSpec.headGroupSpec is missing"),
        # What is started.
        (
            [],
            [(ENTRYPOINT, "python -m pepo_rlhf.evaluate --config x")],
            "error: spec.entrypoint .* does not start pepo_rl",
        ),
        (
            [],
            [(f"entrypoint: {ENTRYPOINT}", "entrypointNumCpus: 0")],
            "error: spec.entrypoint '' does not start pepo_rl",
        ),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT} --actor.num_gpus_per_node 16")],
            "error: spec.entrypoint starts no run: --train.colocate_all .* give --ref.num_nodes",
        ),
        ([], [(ENTRYPOINT, f"{ENTRYPOINT} {' '.join(TWO_BOXES)} 2")], "error: the run reserves 16 GPUs .* has 8"),
        ([], [(ENTRYPOINT, f"{ENTRYPOINT} --run.dir /tmp/run")], "error: head: --run.dir /tmp/run is on no persistent"),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT} --pepo.alpha 0.1")],
            "warning: what entrypoint and ConfigMap start differs .* --pepo.settings.alpha$",
        ),
        (
            [],
            [("rlhf/train.yaml", "rlhf/other.yaml")],
            r"error: spec.entrypoint: --config /etc/pepo-rlhf/other.yaml is .* \(/etc/pepo-rlhf/train.yaml\): mend",
        ),
        ([], [("mountPath: /etc/pepo-rlhf", "mountPath: /etc/other")], r"error: .* \(/etc/other/train.yaml\): mend"),
        ([], [(CONFIG_MAP, r"\1-2")], "error: head: ConfigMap pepo-rlhf-config at /etc/pepo-rlhf is not among"),
        ([], [(CONFIG_MAP, r"\1-2")], r"error: spec.entrypoint: --config .* \(none\): mend the path, the mount or"),
        (
            [],
            [
                ("rayClusterSpec:", "clusterSelector: {ray.io/cluster: x}\n  other:"),
                ("backoffLimit: 2", "x: 2"),
                (QUEUE, "x"),
            ],
            "warning: runs on a cluster that is already there, whose pods are not checked",
        ),
        (
            [],
            [(" replicas: 1", " replicas: 3")],
            "error: gpu: replicas 3 is outside minReplicas 1 to maxReplicas 1, .* 1:",
        ),
        ([], [("eplicas: 1", f"eplicas: {10**12}")], "error: gpu: 10{12} pods, and Kubernetes has 5000 nodes at most"),
        (
            [],
            [(r"train.yaml: \"(.*\n)+?kind", f"train.yaml: '{'[' * 3000}'\nkind")],
            "error: spec.entrypoint starts no",
        ),
        # The driver, and what Ray is told. The worker's 8 GPUs less one are 7.
        (
            [],
            [("backoffLimit: 2\n  entry", "backoffLimit: 2\n  entrypointNumGpus: 1\n  entry")],
            "error: entrypointNumGpus 1 and entrypointNumCpus 0, .* leave the run too little: .* has 7",
        ),
        (
            [],
            [("backoffLimit: 2\n  entry", "backoffLimit: 2\n  entrypointNumCpus: 40\n  entry")],
            "error: entrypointNumGpus 0 and entrypointNumCpus 40, .* are more than any pod has",
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
        (
            [],
            [(r"(requests:\n +cpu: '4'\n +memory: 16Gi)", r"\1\n                nvidia.com/gpu: '8'")]
            + [(r"(limits:\n +cpu: '4'\n +memory: 16Gi)", r"\1\n                nvidia.com/gpu: '8'")],
            "warning: head: Ray is told of 0 GPUs, the container's 8 stay idle",
        ),
        # Commands that a shell would understand otherwise.
        (
            [],
            [(f"entrypoint: {ENTRYPOINT}", "entrypoint: |\n    python -m pepo_rlhf.train\n    --config /etc/x")],
            "error: spec.entrypoint .* is a command a line: write python -m pepo_rlhf.train --config FILE on one line",
        ),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT} || true")],
            r"error: spec.entrypoint: '\|\|' after the flags .* hide how the",
        ),
        ([], [(ENTRYPOINT, f"{ENTRYPOINT} | tee log")], r"error: spec.entrypoint: '\|' after the flags"),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT}; true")],
            "error: spec.entrypoint: '/etc/pepo-rlhf/train.yaml;' after the fl",
        ),
        ([], [(ENTRYPOINT, f"{ENTRYPOINT} 2>&1")], "error: spec.entrypoint: '2>&1' after the flags"),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT} --print_config")],
            "error: spec.entrypoint starts no run: a flag has it print",
        ),
        (["--ckpt.resume", "never"], [], "warning: --ckpt.resume never ends the first try or each retry"),
        (
            [],
            [(QUEUE, "x"), ("backoffLimit: 2\n  entry", "suspend: true\n  entry")],
            "warning: spec.suspend is true, and",
        ),
        (
            [],
            [("preRunningDeadlineSeconds: 3600", "preRunningDeadlineSeconds: 1h")],
            "error: .* is '1h': give it a whole",
        ),
        (
            [],
            [("submitterConfig:\n    backoffLimit: 2", "submitterConfig: {backoffLimit: -1}")],
            "error: .* is -1: give",
        ),
        (
            [],
            [("  name: pepo-rlhf-runs\nspec", "  name: pepo-rlhf-runs\n  namespace: other\nspec")],
            "warning: its namespace is none, of other manifests other: give them one, by namespace: in",
        ),
        (
            [],
            [("  name: pepo-rlhf-runs\nspec", "  name: pepo-rlhf-runs\n  namespace: other\nspec")],
            "warning: head: claim pepo-rlhf-runs at /mnt/runs is not among",
        ),
        ([], [("ray2.55.0-gpu", "ray2.55.0-cpu")], "error: gpu: image .*-cpu makes no use of its 8 nvidia.com/gpu"),
    ],
)
def test_what_does_not_go_together_is_found(check_overlay, flags, texts, expected):
    found = check_overlay(*flags, texts=texts)
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    "texts",
    [
        [("storage: 500Gi", "storage: 217Gi")],
        [(" replicas: 1\n", " suspend: false\n")],  # absent replicas are minReplicas
        [(r"requests:\n.*\n.*\n +nvidia.com/gpu: '8'", "requests: {}")],  # then the limits are the requests
        [(ENTRYPOINT, ENTRYPOINT.replace("--config ", "--config="))],
        [(ENTRYPOINT, f"cd /opt && {ENTRYPOINT}")],
        [(f"entrypoint: {ENTRYPOINT}", "entrypoint: |\n    " + ENTRYPOINT.replace(" --", " \\\\\n      --"))],
        [("(?m)^metadata:\n", "metadata:\n  namespace: training\n")],
        [("ray2.55.0-gpu", "ray2.55.0-gpu@sha256:0123abcd")],
        [("backoffLimit: 2\n  entry", "backoffLimit: 2\n  entrypointNumCpus: 2\n  entry")],
        [("rayStartParams: {}", "rayStartParams: {num-gpus: '8'}")],
        [("name: HF_HOME", "name: TOKENIZERS_PARALLELISM\n              value: 'no'\n            - name: HF_HOME")],
        [(r"(configMap:\n +name: pepo-rlhf-config)", r"\1\n            items: []")],
    ],
)
def test_what_goes_together_is_left_alone(check_overlay, texts):
    assert check_overlay(texts=texts) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (r"labels:\n    app.kubernetes.io/name: pepo-rlhf\n    kueue.*", "labels: null", "metadata.labels is null"),
        ("replicas: 1", "replicas: two", r"workerGroupSpecs\[0\].replicas is 'two': give it a whole number"),
        ("rayVersion: 2.55.0", "rayVersion: latest", "rayVersion is 'latest': give it a version"),
        ("apiVersion: ray.io/v1", "apiVersion: ray.io/v2", "apiVersion is 'ray.io/v2': give it ray.io/v1"),
        ("apiVersion: ray.io/v1\n", "", "apiVersion is missing or empty: give it ray.io/v1"),
        ("nvidia.com/gpu: '8'", "nvidia.com/gpu: 1e999", "nvidia.com/gpu is '1e999': give it a quantity"),
        ("train.yaml: ", "1: ", "data has the key 1: put it in quotes"),
        ("storage: 500Gi", "storage: 128GB", "Claim/pepo-rlhf-runs: .*storage is '128GB': give it a quantity"),
        ("nvidia.com/gpu: '8'", "nvidia.com/gpu: eight", "nvidia.com/gpu is 'eight': give it a quantity"),
    ],
)
def test_what_cannot_stand_there_is_named_and_nothing_else_said(check_overlay, old, new, expected):
    found = check_overlay(texts=[(old, new)])
    assert found and all(re.search(expected, line) or "metadata.labels" in line for line in found), found


def test_every_finding_names_its_resource():
    config = parse_arguments(["--config", str(OVERLAY / "train.yaml")])
    inputs = SimpleNamespace(args=to_arguments(config), num_parameters=4 * 10**9)
    findings = list(manifest.check_manifest(inputs, config, OVERLAY))
    assert findings and all(finding.message.startswith("RayJob/pepo-rlhf: ") for finding in findings)


def test_the_key_of_a_tracker_is_the_pods_affair(check_overlay, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    texts = [(ENTRYPOINT, f"{ENTRYPOINT} --logger.wandb.enable true")]
    assert check_overlay("--logger.wandb.enable", "true", texts=texts) == []


def test_a_folder_that_does_not_render_is_told_in_kubectls_words(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(ValueError, match=r"^--manifest .*missing\.yaml"):
        manifest.render(tmp_path)


@pytest.mark.parametrize("text", ["- a list\n", "kind: 3\n", "metadata: {name: x}\n"])
def test_a_document_without_a_kind_is_refused(tmp_path, text):
    (tmp_path / "rendered.yaml").write_text(text)
    with pytest.raises(ValueError, match="is no resource, with a kind$"):
        manifest.render(tmp_path / "rendered.yaml")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: " + b"[" * 5000, "YAML that is nested too deeply"),
        ("kind: Pod  # für".encode("latin-1"), "is not UTF-8 text"),
        (b"day: 2026-99-99", "not valid YAML: month must be"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, problem):
    file = tmp_path / "rendered.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^--manifest {file}:? {problem}"):
        manifest.render(file)

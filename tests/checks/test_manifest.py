"""A shipped manifest, deliberately broken, against the run that it starts."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pepo_rlhf.checks import manifest
from pepo_rlhf.config import parse_arguments, to_arguments

OVERLAY = Path(__file__).parents[2] / "k8s" / "overlays" / "single-node"


@functools.cache
def parse(*flags):
    return parse_arguments(["--config", str(OVERLAY / "train.yaml"), *flags])


@pytest.fixture(scope="module")
def rendered():
    return yaml.safe_dump_all(manifest.render(OVERLAY))


@pytest.fixture
def check(rendered, tmp_path):
    """Errors and warnings on a run, with flags changed, and on its manifests, with patterns replaced."""

    def run(*flags, texts=()):
        config = parse(*flags)
        text = rendered
        for old, new in texts:
            assert re.search(old, text), old
            text = re.sub(old, new, text)
        (tmp_path / "rendered.yaml").write_text(text)
        inputs = SimpleNamespace(args=to_arguments(config), num_parameters=4 * 10**9)
        findings = manifest.check_manifest(inputs, config, tmp_path / "rendered.yaml")
        lines = [f"{finding.level}: {finding.message}" for finding in findings if finding.level != "ok"]
        assert all("\n" not in line for line in lines)
        return [line.replace("RayJob/pepo-rlhf: ", "") for line in lines]

    return run


def test_as_shipped_there_is_nothing_to_say(check):
    assert check() == []


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
        (["--pepo.alpha", "0.1"], [], "warning: what entrypoint .* differs from the settings checked in --pepo.alpha$"),
        ([], [("submissionMode: K8sJobMode", "submissionMode: K8JobMode")], "error: spec.submissionMode"),
        ([], [(" alpha: 0.05", " alhpa: 0.05")], "error: spec.entrypoint starts no run: --pepo.alhpa"),
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
            "warning: what entrypoint and ConfigMap start differs .* --pepo.alpha$",
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
        # Pods.
        (
            [],
            [(" replicas: 1", " replicas: 3")],
            "error: gpu: replicas 3 is outside minReplicas 1 to maxReplicas 1, .* 1:",
        ),
        (
            [],
            [(r"(requests:\n.*\n.*\n +nvidia.com/gpu: )'8'", r"\1'4'")],
            "error: gpu: .* requests 4 .* its limit is 8",
        ),
        ([], [(r"(limits:\n.*\n.*)\n +nvidia.com/gpu: '8'", r"\1")], "error: gpu: .* requests 8 .* limit is absent"),
        ([], [("runAsUser: 1000", "runAsUser: 0")], "error: submitter: the pod runs as root"),
        (
            [],
            [(r"(name: HF_TOKEN\n)( +)valueFrom:\n.*\n.*\n.*\n.*\n", r"\1\2value: hf_abc\n")],
            "error: head: container ray-head has the value of HF_TOKEN in it",
        ),
        # Claims. Four copies of 4e9 parameters x (2 + 12) bytes and the model of 8e9: 232e9 bytes or 216.07 GiB.
        ([], [("storage: 500Gi", "storage: 216Gi")], "error: claim pepo-rlhf-runs of 216Gi, .* up to 216.07 GiB"),
        (
            [],
            [("ReadWriteMany", "ReadWriteOnce")],
            "warning: claim pepo-rlhf-runs is ReadWriteOnce: head and worker must",
        ),
        (
            [],
            [("ReadWriteMany", "ReadWriteOnce"), ("eplicas: 1", "eplicas: 2")],
            "error: claim pepo-rlhf-cache is ReadWriteOnce and 2 workers mount it",
        ),
    ],
)
def test_what_does_not_go_together_is_found(check, flags, texts, expected):
    found = check(*flags, texts=texts)
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    "texts",
    [
        [("storage: 500Gi", "storage: 217Gi")],
        [(" replicas: 1\n", " suspend: false\n")],  # absent replicas are minReplicas
        [(r"requests:\n.*\n.*\n +nvidia.com/gpu: '8'", "requests: {}")],  # then the limits are the requests
        [(ENTRYPOINT, ENTRYPOINT.replace("--config ", "--config="))],
        [("name: HF_HOME", "name: TOKENIZERS_PARALLELISM\n              value: 'no'\n            - name: HF_HOME")],
        [(r"(configMap:\n +name: pepo-rlhf-config)", r"\1\n            items: []")],
    ],
)
def test_what_goes_together_is_left_alone(check, texts):
    assert check(texts=texts) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (r"labels:\n    app.kubernetes.io/name: pepo-rlhf\n    kueue.*", "labels: null", "metadata.labels is null"),
        ("replicas: 1", "replicas: two", r"workerGroupSpecs\[0\].replicas is 'two': give it a whole number"),
        ("rayVersion: 2.55.0", "rayVersion: latest", "rayVersion is 'latest': give it a version"),
        ("storage: 500Gi", "storage: 128GB", "Claim/pepo-rlhf-runs: .*storage is '128GB': give it a quantity"),
        ("nvidia.com/gpu: '8'", "nvidia.com/gpu: eight", "nvidia.com/gpu is 'eight': give it a quantity"),
    ],
)
def test_what_cannot_stand_there_is_named_and_nothing_else_said(check, old, new, expected):
    found = check(texts=[(old, new)])
    assert found and all(re.search(expected, line) or "metadata.labels" in line for line in found), found


def test_every_finding_names_its_resource(rendered, tmp_path):
    (tmp_path / "rendered.yaml").write_text(rendered)
    config = parse()
    inputs = SimpleNamespace(args=to_arguments(config), num_parameters=4 * 10**9)
    findings = list(manifest.check_manifest(inputs, config, tmp_path / "rendered.yaml"))
    assert findings and all(finding.message.startswith("RayJob/pepo-rlhf: ") for finding in findings)


def test_a_folder_that_does_not_render_is_told_in_kubectls_words(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(ValueError, match=r"^--manifest .*missing\.yaml"):
        manifest.render(tmp_path)


@pytest.mark.parametrize("text", ["- a list\n", "kind: 3\n", "metadata: {name: x}\n"])
def test_a_document_without_a_kind_is_refused(tmp_path, text):
    (tmp_path / "rendered.yaml").write_text(text)
    with pytest.raises(ValueError, match="is no resource, with a kind$"):
        manifest.render(tmp_path / "rendered.yaml")

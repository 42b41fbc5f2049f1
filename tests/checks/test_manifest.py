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
    """Errors and warnings on a run, with flags changed, and on its manifests, with texts replaced."""

    def run(*flags, texts=()):
        config = parse(*flags)
        text = rendered
        for old, new in texts:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "rendered.yaml").write_text(text)
        inputs = SimpleNamespace(args=to_arguments(config), num_parameters=4 * 10**9)
        findings = manifest.check_manifest(inputs, config, tmp_path / "rendered.yaml")
        return [f"{finding.level}: {finding.message}" for finding in findings if finding.level != "ok"]

    return run


def test_as_shipped_there_is_nothing_to_say(check):
    assert check() == []


TWO_BOXES = ["--actor.num_nodes", "2", "--ref.num_nodes", "2", "--vllm.num_engines", "16", "--train.micro_batch_size"]


@pytest.mark.parametrize(
    ("flags", "texts", "expected"),
    [
        ([*TWO_BOXES, "2"], [], "error: the run reserves 16 GPUs .* the Ray cluster has 8"),
        ([], [("nvidia.com/gpu: '8'", "nvidia.com/gpu: '4'")], "error: the run reserves 8 GPUs .* has 4"),
        ([], [("replicas: 1", "replicas: 2"), ("Replicas: 1", "Replicas: 2")], "warning: 8 GPUs of RayJob stay idle"),
        ([], [("rayVersion: 2.55.0", "rayVersion: 2.54.0")], "error: rayVersion is 2.54.0, setup.py pins ray 2.55.0"),
        ([], [("ray2.55.0-gpu", "ray2.54.0-gpu")], "error: the tag of image .* does not say ray2.55.0"),
        ([], [("mountPath: /mnt/runs", "mountPath: /mnt/elsewhere")], "error: head: --run.dir /mnt/runs/.* is lost"),
        (["--run.dir", "/tmp/run"], [], "error: gpu: --run.dir /tmp/run is on no persistent volume"),
        ([], [("value: /mnt/cache", "value: /tmp/cache")], "warning: head: HF_HOME is on no persistent volume"),
        ([], [("claimName: pepo-rlhf-runs", "claimName: other")], "warning: head: claim other at /mnt/runs is not"),
        ([], [("sizeLimit: 128Gi", "sizeLimit: 64Mi")], "error: gpu: /dev/shm of 64Mi, 1.00 GiB needed"),
        (["--ckpt.save_steps", "-1"], [], "warning: each retry of backoffLimit would begin anew"),
        (["--pepo.alpha", "0.1"], [], "warning: the ConfigMap's configuration differs .* in --pepo.alpha"),
        ([], [("submissionMode: K8sJobMode", "submissionMode: K8JobMode")], "error: RayJob: spec.submissionMode"),
        ([], [(" alpha: 0.05", " alhpa: 0.05")], "error: .* does not parse: error: --pepo.alhpa"),
        (
            [],
            [("- name: runs\n            persistent", "- name: other\n            persistent")],
            "error: .* names a volume",
        ),
        ([], [("headGroupSpec:", "headGroup:")], "error: RayJob lacks the field 'headGroupSpec'"),
    ],
)
def test_what_does_not_go_together_is_found(check, flags, texts, expected):
    found = check(*flags, texts=texts)
    assert any(re.match(expected, line) for line in found), found


def test_a_folder_that_does_not_render_is_told_in_kubectls_words(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(ValueError, match=r"^--manifest .*missing\.yaml"):
        manifest.render(tmp_path)


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", 0.5), ("16Gi", 16 * 2**30), ("8", 8), (8, 8), ("1.5", 1.5), ("2M", 2e6), ("1Ti", 2**40)],
)
def test_quantities(text, number):
    assert manifest.quantity(text) == number

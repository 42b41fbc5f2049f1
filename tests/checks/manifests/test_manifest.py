"""A shipped manifest, deliberately broken, against the run that it starts."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pepo_rlhf.checks.manifests import manifest
from pepo_rlhf.config import parse_arguments

OVERLAY = Path(__file__).parents[3] / "k8s" / "overlays" / "single-node"


def test_as_shipped_there_is_nothing_to_say(check_overlay):
    assert check_overlay() == []


ENTRYPOINT = "python -m pepo_rlhf.train --config /etc/pepo-rlhf/train.yaml"
CONFIG_MAP = r"(kind: ConfigMap\nmetadata:\n  name: pepo-rlhf-config)"


@pytest.mark.parametrize(
    ("flags", "texts", "expected"),
    [
        (["--ckpt.save_steps", "-1"], [], "warning: each retry of backoffLimit would begin anew"),
        (["--ckpt.resume", "never"], [], "warning: --ckpt.resume never ends the first try or each retry"),
        ([], [("rayVersion: 2.55.0", "rayVersion: 2.54.0")], "error: rayVersion is 2.54.0, setup.py pins ray 2.55.0"),
        (
            [],
            [("rayClusterSpec:", "clusterSelector: {ray.io/cluster: x}\n  other:")],
            "warning: runs on a cluster that is already there, whose pods are not checked",
        ),
        # What is started.
        (
            ["--pepo.alpha", "0.1"],
            [],
            "error: spec.entrypoint differs from the settings that .* --pepo[.a-z]*alpha: give",
        ),
        (
            [],
            [(ENTRYPOINT, f"{ENTRYPOINT} --actor.num_nodes 2 --run.dir /tmp/run")],
            "error: spec.entrypoint differs from .* in --actor.num_nodes, --run.dir: give both the same",
        ),
        (
            [],
            [(" alpha: 0.05", " alhpa: 0.05")],
            "error: spec.entrypoint differs from .* in --pepo.settings.alhpa, --pepo.settings.alpha",
        ),
        (
            [],
            [("rlhf/train.yaml", "rlhf/other.yaml")],
            r"error: spec.entrypoint: --config /etc/pepo-rlhf/other.yaml is .* \(/etc/pepo-rlhf/train.yaml\): mend",
        ),
        ([], [("mountPath: /etc/pepo-rlhf", "mountPath: /etc/other")], r"error: .* \(/etc/other/train.yaml\): mend"),
        ([], [(CONFIG_MAP, r"\1-2")], r"error: spec.entrypoint: --config .* \(none\): mend the path, the mount or"),
        (
            [],
            [(r"train.yaml: \"(.*\n)+?kind", f"train.yaml: '{'[' * 3000}'\nkind")],
            "error: spec.entrypoint: it starts no",
        ),
        ([], [(ENTRYPOINT, f"{ENTRYPOINT} --print_config")], "error: spec.entrypoint: .* no run: a flag has it print"),
        ([], [(ENTRYPOINT, f"pip install -e . && {ENTRYPOINT}")], "error: spec.entrypoint: '&&' is for a shell: write"),
        ([], [(f"entrypoint: {ENTRYPOINT}", "entrypointNumCpus: 0")], "error: spec.entrypoint: it begins with ''"),
    ],
)
def test_what_does_not_go_together_is_found(check_overlay, flags, texts, expected):
    found = check_overlay(*flags, texts=texts)
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    "texts",
    [
        [(ENTRYPOINT, ENTRYPOINT.replace("--config ", "--config="))],
        [(ENTRYPOINT, ENTRYPOINT.replace("python -m pepo_rlhf.train", "pepo train"))],
        [(f"entrypoint: {ENTRYPOINT}", "entrypoint: |\n    " + ENTRYPOINT.replace(" --", " \\\\\n      --"))],
        [("name: HF_HOME", "name: TOKENIZERS_PARALLELISM\n              value: 'no'\n            - name: HF_HOME")],
        [(r"(configMap:\n +name: pepo-rlhf-config)", r"\1\n            items: []")],
    ],
)
def test_what_goes_together_is_left_alone(check_overlay, texts):
    assert check_overlay(texts=texts) == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (" replicas: 1", " replicas: two", "TypeError"),
        ("headGroupSpec:", "headGroup:", "'headGroupSpec'"),
        ("(?s)containers:.*?volumes:", "containers: []\n          volumes:", "IndexError"),
        ("nvidia.com/gpu: '8'", "nvidia.com/gpu: 1e999", "'1e999' is no Kubernetes quantity"),
        ("storage: 500Gi", "storage: 128GB", "'128GB' is no Kubernetes quantity"),
        ("nvidia.com/gpu: '8'", "nvidia.com/gpu: eight", "'eight' is no Kubernetes quantity"),
        ("kind: ConfigMap\nmetadata:\n", "kind: ConfigMap\nmeta:\n", "'metadata'"),
    ],
)
def test_a_field_that_cannot_be_read_is_the_only_error(check_overlay, old, new, word):
    (found,) = check_overlay(texts=[(old, new)])
    assert found.startswith("error: a field is missing or wrong (") and word in found
    assert found.endswith(": `kubectl apply --dry-run=server` or kubeconform says which one")


def test_a_standing_cluster_may_offer_another_configuration(check_overlay):
    """Its jobs bring their own flags, so that a difference is a warning there."""
    job = [(r"(?s)kind: RayJob", "kind: RayCluster"), (r"(?s)\n  rayClusterSpec:", "\n  <<:")]
    found = check_overlay("--pepo.temperature", "1.7", texts=job)
    assert len(found) == 1
    assert re.search("^warning: .*the configuration at /etc/pepo-rlhf/train.yaml differs .*temperature$", found[0])


def test_every_finding_names_its_resource():
    config = parse_arguments(["--config", str(OVERLAY / "train.yaml")])
    inputs = SimpleNamespace(config=config, num_parameters=4 * 10**9, num_adapter_parameters=0)
    findings = list(manifest.check_manifest(inputs, OVERLAY))
    assert findings and all(finding.message.startswith("RayJob/pepo-rlhf: ") for finding in findings)


def test_the_key_of_a_tracker_is_the_pods_affair(check_overlay, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    texts = [(ENTRYPOINT, f"{ENTRYPOINT} --logger.wandb.enable true")]
    assert check_overlay("--logger.wandb.enable", "true", texts=texts) == []


def test_variables_of_a_job_must_be_texts(check_overlay):
    """Ray raises TypeError for others when the job starts."""
    environment = "  runtimeEnvYAML: |\n    env_vars: {A: 1, B: 'x'}\n"
    (found,) = check_overlay(texts=[(f"  entrypoint: {ENTRYPOINT}", f"{environment}  entrypoint: {ENTRYPOINT}")])
    assert found.startswith("error: ") and found.endswith("quote the value of A")


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

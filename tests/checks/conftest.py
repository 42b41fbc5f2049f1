"""A tiny model, drawn problems, and the inputs of a run on both; and a shipped manifest to break."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests import manifest
from pepo_rlhf.config import parse_arguments
from pepo_rlhf.toy.counting import generate
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl

OVERLAY = Path(__file__).parents[2] / "k8s" / "overlays" / "single-node"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def write_problems(tmp_path_factory):
    """Writes twelve problems with a picture of 112 x 112, changed by `changes` of one row or another."""

    def write(changes=None):
        folder = tmp_path_factory.mktemp("problems")
        with (folder / "problems.jsonl").open("w") as file:
            for number, row in enumerate(generate(12, seed=0)):
                row.draw().save(folder / f"{number}.png")
                record = {"image": f"{number}.png", "problem": "How many?", "answer": str(row.count)}
                file.write(json.dumps(record | (changes or {}).get(number, {})) + "\n")
        return folder

    return write


@pytest.fixture(scope="session")
def problems(write_problems):
    return write_problems()


@pytest.fixture
def flags(tiny_model, problems):
    """A run that passes."""
    return {
        "actor.model_name_or_path": str(tiny_model),
        "data.prompt_dataset": str(problems),
        "data.max_len": 128,
        "rollout.batch_size": 4,
        "rollout.n_samples_per_prompt": 2,
        "rollout.max_new_tokens": 24,
        "train.batch_size": 8,
        "reward.num_processes": 1,
    }


@pytest.fixture
def make_inputs(flags):
    def make(**changes):
        values = flags | {name.replace("__", "."): value for name, value in changes.items()}
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return Inputs(parse_arguments(words))

    return make


@pytest.fixture
def run_check():
    """Findings of a check by level."""

    def run(check, *args):
        found = {"ok": [], "warning": [], "error": []}
        for finding in check(*args):
            found[finding.level].append(finding)
        return found

    return run


@functools.cache
def parse_overlay(*flags):
    return parse_arguments(["--config", str(OVERLAY / "train.yaml"), *flags], validated=False)


@pytest.fixture(scope="session")
def rendered():
    return yaml.safe_dump_all(manifest.render(OVERLAY))


@pytest.fixture
def check_overlay(rendered, tmp_path):
    """Errors and warnings on a run, with flags changed, and on its manifests, broken.

    `texts` are patterns and what replaces them; `fields` are "Kind path.to[0].field" and a value, None to delete it.
    """

    def check(*flags, texts=(), fields=()):
        config = parse_overlay(*flags)
        text = rendered
        for old, new in texts:
            assert re.search(old, text), old
            text = re.sub(old, new, text)
        if fields:
            text = _changed(text, fields)
        (tmp_path / "rendered.yaml").write_text(text)
        inputs = SimpleNamespace(config=config, num_parameters=4 * 10**9, num_adapter_parameters=0)
        findings = manifest.check_manifest(inputs, tmp_path / "rendered.yaml")
        lines = [f"{finding.level}: {finding.message}" for finding in findings if finding.level != "ok"]
        assert all("\n" not in line for line in lines)
        return [line.replace("RayJob/pepo-rlhf: ", "") for line in lines]

    return check


def _changed(text, fields):
    resources = json.loads(json.dumps(list(yaml.safe_load_all(text))))  # in which no part stands twice
    for field, value in fields:
        kind, path = field.split(" ")
        *parents, last = [int(name) if name.isdigit() else name for name in re.split(r"[.\[\]]+", path.rstrip("]"))]
        for resource in (resource for resource in resources if resource["kind"] == kind):
            parent = functools.reduce(lambda parent, name: parent[name], parents, resource)
            if value is None:
                del parent[last]
            else:
                parent[last] = value
    return yaml.safe_dump_all(resources)

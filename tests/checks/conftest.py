"""A tiny model, drawn problems, and the inputs of a run on both."""

from __future__ import annotations

import json

import pytest

from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import parse_arguments, to_arguments
from pepo_rlhf.sandbox.counting import generate
from pepo_rlhf.sandbox.tiny_vlm import build_tiny_qwen2_5_vl


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
        return Inputs(to_arguments(parse_arguments(words)))

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

"""The cluster of a submitted run: what check says of it, and a run that it just holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pepo_rlhf.checks.placement import check_cluster
from pepo_rlhf.config import Config
from pepo_rlhf.controller import cluster as cluster_module

BIN = Path(sys.executable).parent
CONFIG = ["--config", "examples/quickstart.yaml"]


def levels(findings):
    return {finding.level: finding.message for finding in findings}


def test_check_asks_the_cluster(cluster):
    config = Config()
    config.train.colocate_actor_ref = True
    assert levels(check_cluster(config, cluster.gcs)) == {"ok": "2 GPUs and 2 CPUs on 1 nodes"}
    config.vllm.num_engines = 2
    found = levels(check_cluster(config, cluster.gcs))
    assert list(found) == ["error"] and "the run reserves 3 GPUs" in found["error"]


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(cluster_module, "_ANSWER_SECONDS", 0.5)
    with pytest.raises(ValueError, match="^--cluster 127.0.0.1:1 does not answer within 0.5 s: [^\\n]*$"):
        list(check_cluster(Config(), "127.0.0.1:1"))


@pytest.mark.full
def test_a_run_trains_on_a_cluster_that_has_just_what_it_reserves(cluster, working_dir, tmp_path):
    """The real thing, as README has it: two steps by `ray job submit`."""
    from pepo_rlhf.toy.counting import generate
    from pepo_rlhf.toy.dataset import write_rows
    from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl

    write_rows(tmp_path / "train.jsonl", generate(8, seed=0))
    flags = ["--actor.model_name_or_path", str(build_tiny_qwen2_5_vl(tmp_path / "model"))]
    flags += ["--data.prompt_dataset", str(tmp_path / "train.jsonl"), "--run.dir", str(tmp_path / "run")]
    flags += ["--rollout.batch_size", "4", "--train.batch_size", "32"]
    command = [BIN / "ray", "job", "submit", "--address", cluster.jobs, "--working-dir", ".", "--"]
    command += ["python", "-m", "pepo_rlhf.train", *CONFIG, *flags]
    done = subprocess.run(command, cwd=working_dir, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [step["global_step"] for step in steps] == [1, 2]

"""The placement of the GPU recipes, and a method that reads one hidden state, on a CPU with logical GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_policy_reference_and_engines_share_gpus(tiny_model, problems, tmp_path):
    """Two of each on two logical GPUs, of which each actor takes a fraction. CPUs have no sleep mode."""
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(EXAMPLES / "geometry3k_cpu.yaml")]
    command += ["--config", str(EXAMPLES / "methods" / "vgpo.yaml"), "--run.dir", str(tmp_path / "run")]
    command += ["--actor.model_name_or_path", str(tiny_model), "--data.prompt_dataset", str(problems)]
    command += ["--train.colocate_all", "--actor.num_gpus_per_node", "2", "--ref.num_gpus_per_node", "2"]
    command += ["--vllm.num_engines", "2", "--train.micro_batch_size", "2", "--data.max_samples", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [step["global_step"] for step in steps] == [1, 2]
    for step in steps:
        assert 0 <= step["weight_min"] < 1 < step["weight_max"] <= 2, "1 + s - mean s, with s from 0 to 1"

"""The script that tries a GPU machine, on a machine without one: versions, and the chain with a tiny model."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine with a GPU runs the script itself")
def test_the_tiny_parts_pass_on_a_cpu_and_write_their_results(tmp_path, no_process_left):
    command = ["bash", "examples/gpu_check.sh", "--steps", "2", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY)
    parts = json.loads((tmp_path / "gpu_check.json").read_text())["parts"]
    assert {name: results["failed"] for name, results in parts.items()} == {"a": None, "b": None, "c": None}
    assert done.returncode == 0
    assert parts["a"]["torch"] == torch.__version__ and parts["a"]["Adam of DeepSpeed"] == "works"
    assert 0 <= parts["b"]["on the CPU: largest gap"] < 0.03
    assert parts["c"]["ours, PEPO: time_step, s"] > 0

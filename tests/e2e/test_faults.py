"""Processes of a run that are killed or stopped while it trains."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pepo_rlhf.runtime import checkpoints

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "examples" / "geometry3k_cpu.yaml"

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("no_process_left")]


def start(model, problems, folder, *flags):
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(CONFIG)]
    command += ["--actor.model_name_or_path", str(model), "--data.prompt_dataset", str(problems)]
    command += ["--run.dir", str(folder / "run"), "--ckpt.save_steps", "1", "--train.num_episodes", "100", *flags]
    log = (folder / "log.txt").open("a")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)


def metrics(folder):
    path = folder / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for_step(folder, step, process, seconds=400):
    deadline = time.monotonic() + seconds
    while len(metrics(folder)) < step:
        assert process.poll() is None, (folder / "log.txt").read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def part(process, name):
    """The process of a run whose command line holds `name`."""
    found = [
        child for child in psutil.Process(process.pid).children(recursive=True) if name in " ".join(child.cmdline())
    ]
    assert found, name
    return found[0]


def test_a_killed_engine_is_restarted_with_the_current_weights(tiny_model, problems, tmp_path):
    process = start(tiny_model, problems, tmp_path)
    wait_for_step(tmp_path, 2, process)
    part(process, "EngineCore").kill()
    wait_for_step(tmp_path, 5, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    assert process.returncode == 143, (tmp_path / "log.txt").read_text()[-4000:]
    steps = metrics(tmp_path)
    assert [step["global_step"] for step in steps] == list(range(1, len(steps) + 1))
    assert [step["progress"] for step in steps] == pytest.approx([index / 400 for index in range(len(steps))])
    assert all(step["num_samples"] == 8 for step in steps), "none lost, none twice"
    assert steps[1]["engine_restarts"] == 0 and steps[-1]["engine_restarts"] == 1
    assert all(step["rollout_trainer_gap"] < 0.03 for step in steps), "old weights would show here"


@pytest.mark.parametrize("victim", ["ray::PolicyWorker", "ray::PepoTrainer", "gcs_server", "raylet/raylet"])
def test_the_death_of_any_other_process_ends_the_job_with_a_message(tiny_model, problems, tmp_path, victim):
    process = start(tiny_model, problems, tmp_path)
    wait_for_step(tmp_path, 2, process)
    part(process, victim).kill()
    process.wait(timeout=150)
    log = (tmp_path / "log.txt").read_text()
    assert process.returncode not in (0, 143), log[-4000:]
    assert "error: a process of the run has died, and the run ends with it: " in log
    assert checkpoints.newest_complete(tmp_path / "run" / "checkpoints") is not None


def test_a_process_that_stands_still_is_told_by_phase(tiny_model, problems, tmp_path):
    process = start(tiny_model, problems, tmp_path, "--run.stall_timeout", "150")
    wait_for_step(tmp_path, 2, process)
    part(process, "ray::PolicyWorker").suspend()
    process.wait(timeout=330)
    log = (tmp_path / "log.txt").read_text()
    assert process.returncode == 1, log[-4000:]
    assert "error: the run has stalled: " in log and "has not ended within --run.stall_timeout 150 s" in log

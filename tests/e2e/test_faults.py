"""Processes of a run that are killed or stopped while it trains."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pepo_rlhf.checkpoints import folders

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "examples" / "geometry3k_cpu.yaml"

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("no_process_left")]


def start(model, problems, folder, *flags, address=None):
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(CONFIG)]
    command += ["--actor.model_name_or_path", str(model), "--data.prompt_dataset", str(problems)]
    command += ["--run.dir", str(folder / "run"), "--ckpt.save_steps", "1", "--train.num_episodes", "100", *flags]
    log = (folder / "log.txt").open("a")
    environment = {**os.environ, **({"RAY_ADDRESS": address} if address else {})}
    return subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder, env=environment
    )


def metrics(folder):
    path = folder / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for_step(folder, step, process, seconds=400):
    wait_until(lambda: len(metrics(folder)) >= step, process, folder / "log.txt", seconds)


def wait_until(condition, process, log, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)


def part(pid, name):
    """The descendant of `pid` whose command line holds `name`. Ray rewrites command lines all the time."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(child.cmdline()):
                    return child
    raise AssertionError(f"no process is called {name}")


def assert_each_prompt_once(steps):
    """Within an episode, of five steps here."""
    assert all((step["prompts_repeated"], step["prompts_lost"]) == (0, 0) for step in steps)


@pytest.mark.parametrize("is_async", [False, True], ids=["synchronous", "asynchronous"])
def test_a_killed_engine_is_restarted_with_the_current_weights(tiny_model, problems, tmp_path, is_async):
    flags = ["--train.async_enable", "--train.colocate_actor_ref"] if is_async else []
    process = start(tiny_model, problems, tmp_path, *flags)
    wait_for_step(tmp_path, 2, process)
    part(process.pid, "EngineCore").kill()
    wait_for_step(tmp_path, 5, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    assert process.returncode == 143, (tmp_path / "log.txt").read_text()[-4000:]
    steps = metrics(tmp_path)
    assert [step["global_step"] for step in steps] == list(range(1, len(steps) + 1))
    assert [step["progress"] for step in steps] == pytest.approx([index / 400 for index in range(len(steps))])
    assert all(step["num_samples"] == 8 for step in steps)
    assert_each_prompt_once(steps)
    assert steps[1]["engine_restarts"] == 0 and steps[-1]["engine_restarts"] == 1
    assert all(0 <= step["weights_age"] <= is_async for step in steps)
    assert all(step["rollout_trainer_gap"] < 0.03 for step in steps), "old weights would show here"


def test_an_engine_that_dies_in_a_weight_sync_is_given_the_weights_again(tiny_model, problems, tmp_path):
    """The policy has two ranks, one of which talks to the engine while the other waits for it."""
    ranks = ["--actor.num_gpus_per_node", "2", "--ref.num_gpus_per_node", "2", "--train.micro_batch_size", "2"]
    process = start(tiny_model, problems, tmp_path, *ranks, "--logger.tokens_every", "1")
    wait_for_step(tmp_path, 2, process)
    record = tmp_path / "run" / "tokens" / f"step_{len(metrics(tmp_path)) + 1:06d}.parquet"
    # Written before the update, after which the weights go to the engine.
    wait_until(record.exists, process, tmp_path / "log.txt")
    engine = part(process.pid, "EngineCore")
    engine.suspend()
    num_steps = len(metrics(tmp_path))
    time.sleep(30)
    assert len(metrics(tmp_path)) == num_steps, "the run waits in the sync"
    engine.kill()
    wait_for_step(tmp_path, num_steps + 3, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    log, steps = (tmp_path / "log.txt").read_text(), metrics(tmp_path)
    assert process.returncode == 143, log[-4000:]
    assert "a rollout engine has died in a weight sync, which is made again" in log
    assert_each_prompt_once(steps)
    assert steps[-1]["engine_restarts"] == 1
    assert all(step["rollout_trainer_gap"] < 0.03 for step in steps), "old weights would show here"


DIED = "error: a process of the run has died, and the run ends with it: "


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ("ray::PolicyWorker", DIED),
        ("raylet/raylet", f"{DIED}|error: rollout engine 0 died"),  # whichever is seen first
        ("gcs_server", "Failed to connect to GCS within 60 seconds"),  # Ray ends the command itself
    ],
    ids=["policy", "raylet", "head"],
)
def test_the_death_of_any_other_process_ends_the_job_with_a_message(tiny_model, problems, tmp_path, victim, message):
    process = start(tiny_model, problems, tmp_path)
    wait_for_step(tmp_path, 2, process)
    part(process.pid, victim).kill()
    process.wait(timeout=150)
    log = (tmp_path / "log.txt").read_text()
    assert process.returncode not in (0, 143), log[-4000:]
    assert re.search(message, log), log[-4000:]
    assert folders.newest_complete(tmp_path / "run" / "checkpoints") is not None


@pytest.fixture
def cluster():
    """A head for the trainer and two nodes of one GPU, each with a raylet of its own on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "num_gpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=1)
    yield cluster
    cluster.shutdown()


def node_of(cluster, actor):
    """The node whose raylet has started an actor's process."""
    worker = part(os.getpid(), actor)
    raylets = {process.process.pid: node for node in cluster.list_all_nodes() for process in raylet(node)}
    return next(raylets[parent.pid] for parent in worker.parents() if parent.pid in raylets)


def raylet(node):
    return node.all_processes.get("raylet", [])


COLOCATED = ["--train.colocate_actor_ref", "--ckpt.max_num", "2"]


def test_an_engine_whose_node_vanishes_starts_on_another(cluster, tiny_model, problems, tmp_path):
    process = start(tiny_model, problems, tmp_path, *COLOCATED, address=cluster.address)
    wait_for_step(tmp_path, 2, process)
    node = node_of(cluster, "ray::RolloutWorker")
    cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.remove_node(node, allow_graceful=False)
    wait_for_step(tmp_path, 5, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    steps = metrics(tmp_path)
    assert process.returncode == 143, (tmp_path / "log.txt").read_text()[-4000:]
    assert steps[-1]["engine_restarts"] == 1
    assert_each_prompt_once(steps)


def test_a_run_whose_policys_node_vanishes_ends_and_goes_on_elsewhere(cluster, tiny_model, problems, tmp_path):
    process = start(tiny_model, problems, tmp_path, *COLOCATED, address=cluster.address)
    wait_for_step(tmp_path, 2, process)
    cluster.remove_node(node_of(cluster, "ray::PolicyWorker"), allow_graceful=False)
    process.wait(timeout=150)
    assert process.returncode == 1
    log = (tmp_path / "log.txt").read_text()
    assert DIED in log
    num_steps = len(metrics(tmp_path))
    cluster.add_node(num_cpus=1, num_gpus=1)
    process = start(tiny_model, problems, tmp_path, *COLOCATED, "--ckpt.resume", "must", address=cluster.address)
    wait_for_step(tmp_path, num_steps + 2, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    steps = metrics(tmp_path)
    assert [step["global_step"] for step in steps] == list(range(1, len(steps) + 1))
    assert_each_prompt_once(steps)


def test_a_process_that_stands_still_is_told_by_phase(tiny_model, problems, tmp_path):
    process = start(tiny_model, problems, tmp_path, "--run.stall_timeout", "150")
    wait_for_step(tmp_path, 2, process)
    part(process.pid, "ray::PolicyWorker").suspend()
    process.wait(timeout=330)
    log = (tmp_path / "log.txt").read_text()
    assert process.returncode == 1, log[-4000:]
    assert "error: the run has stalled: " in log and "has not ended within --run.stall_timeout 150 s" in log

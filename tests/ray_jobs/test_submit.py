"""Submission to a real Ray cluster with its job server, on this machine. Cheap entry points: flags that end at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from ray_jobs import submit
from ray_jobs.runtime_env import runtime_env

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CONFIG = ["--config", "examples/quickstart.yaml"]
RUN = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def working_dir(tmp_path_factory):
    """What a job needs of the repository."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("pepo_rlhf", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A cluster of two CPUs and two logical GPUs: just what the run below reserves."""
    port, dashboard = free_port(), free_port()
    # Ray's sockets need a short path.
    command = [BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--num-gpus=2"]
    command += [f"--dashboard-port={dashboard}", "--dashboard-agent-listen-port=0", "--ray-client-server-port=0"]
    command += ["--disable-usage-stats"]
    # Jobs run the first python on the path. The package comes with the working directory, not from here.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    log = (tmp_path_factory.mktemp("ray") / "log").open("w+")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield wait_for_job_server(f"http://127.0.0.1:{dashboard}", process, log)
    finally:
        process.send_signal(signal.SIGTERM)  # with --block, ends every process of the cluster
        process.wait(timeout=30)


def wait_for_job_server(address, process, log):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, Path(log.name).read_text()
        try:
            JobSubmissionClient(address).list_jobs()
            return address
        except (ConnectionError, RuntimeError):
            time.sleep(0.5)
    pytest.fail(Path(log.name).read_text())


@pytest.fixture
def run_submit(address, working_dir, monkeypatch, capsys):
    """Runs `python -m ray_jobs.submit` with these flags; returns exit status, job id and output."""
    monkeypatch.chdir(working_dir)

    def run(*flags):
        status = submit.main(["--address", address, *CONFIG, *flags])
        output = capsys.readouterr()
        words = output.out.split()
        return status, words[1] if words[:1] == ["submitted"] else None, output.out + output.err

    return run


def wait_for(client, job, *statuses):
    deadline = time.monotonic() + 60
    while (status := client.get_job_status(job)) not in statuses:
        assert time.monotonic() < deadline, status
        time.sleep(0.2)
    return status


def test_a_job_that_succeeds_is_followed_to_its_end(run_submit):
    status, job, output = run_submit("--follow", *RUN, "--print_config")
    assert status == 0, output
    assert "method: pepo" in output  # the log of the job
    assert f"{job} has ended: SUCCEEDED" in output


def test_a_job_that_fails_fails_the_command(run_submit, address):
    status, job, output = run_submit("--follow", *RUN, "--train.batch_size", "6")
    assert status == 1
    assert "error: --rollout.batch_size" in output and f"{job} has ended: FAILED" in output
    assert JobSubmissionClient(address).get_job_status(job) == JobStatus.FAILED


def test_a_job_can_be_asked_for_and_stopped(run_submit, address, working_dir):
    (working_dir / "slow.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(600)\n")
    # A reward that takes its time keeps the run in its checks.
    status, job, output = run_submit(*RUN, "--reward.functions", "[slow.py:reward]", "--env", "HF_HUB_OFFLINE=1")
    assert status == 0 and f"ray job stop --address {address} {job}" in output
    client = JobSubmissionClient(address)
    wait_for(client, job, JobStatus.RUNNING)
    client.stop_job(job)
    assert wait_for(client, job, JobStatus.STOPPED, JobStatus.FAILED) == JobStatus.STOPPED
    assert submit.follow(client, job) == JobStatus.STOPPED


def test_the_plain_ray_command_does_the_same(address, working_dir):
    command = [BIN / "ray", "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command += ["python", "-m", "pepo_rlhf.train", *CONFIG, *RUN, "--print_config"]
    done = subprocess.run(command, cwd=working_dir, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "method: pepo" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config", "missing.yaml"], "--config missing.yaml: no such file"),
        (["--config", __file__], "lies outside --working-dir"),
        (["--env", "HF_TOKEN=abc"], "--env HF_TOKEN looks like a secret"),
        (["--address", "http://127.0.0.1:1"], "Failed to connect"),
    ],
)
def test_a_mistake_is_one_line_and_submits_nothing(monkeypatch, working_dir, capsys, flags, message):
    monkeypatch.chdir(working_dir)
    assert submit.main(["--address", "http://127.0.0.1:1", *CONFIG, *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "abc" not in error


def test_runtime_environment(tmp_path):
    environment = runtime_env(tmp_path, {"NCCL_DEBUG": "INFO"}, install=True)
    assert environment["working_dir"] == str(tmp_path)
    assert {".git", ".venv", "runs"} <= set(environment["excludes"])
    assert environment["env_vars"] == {"PYTHONUNBUFFERED": "1", "NCCL_DEBUG": "INFO"}
    assert all("==" in package for package in environment["pip"])


@pytest.mark.full
def test_a_run_trains_on_a_cluster_that_has_just_what_it_reserves(address, working_dir, tmp_path):
    """The real thing, as README has it: two steps by `ray job submit`."""
    from pepo_rlhf.sandbox.counting import write_dataset
    from pepo_rlhf.sandbox.tiny_vlm import build_tiny_qwen2_5_vl

    write_dataset(tmp_path / "train.jsonl", 8, seed=0)
    flags = ["--actor.model_name_or_path", str(build_tiny_qwen2_5_vl(tmp_path / "model"))]
    flags += ["--data.prompt_dataset", str(tmp_path / "train.jsonl"), "--run.dir", str(tmp_path / "run")]
    flags += ["--rollout.batch_size", "4", "--train.batch_size", "32"]
    command = [BIN / "ray", "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command += ["python", "-m", "pepo_rlhf.train", *CONFIG, *flags]
    done = subprocess.run(command, cwd=working_dir, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [step["global_step"] for step in steps] == [1, 2]

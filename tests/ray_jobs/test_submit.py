"""Submission to a real Ray cluster. The jobs are cheap: runs that end, or can be stopped, before they train."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from ray_jobs import submit
from ray_jobs.runtime_env import runtime_env

BIN = Path(sys.executable).parent
CONFIG = ["--config", "examples/quickstart.yaml"]
RUN = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


@pytest.fixture
def run_submit(cluster, working_dir, monkeypatch, capsys):
    """Runs `python -m ray_jobs.submit` with these flags; returns exit status, job id and output."""
    monkeypatch.chdir(working_dir)

    def run(*flags):
        status = submit.main(["--address", cluster.jobs, *CONFIG, *flags])
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


def test_a_job_that_fails_fails_the_command(run_submit, cluster):
    status, job, output = run_submit("--follow", *RUN, "--train.batch_size", "6")
    assert status == 1
    assert "error: --rollout.batch_size" in output and f"{job} has ended: FAILED" in output
    assert JobSubmissionClient(cluster.jobs).get_job_status(job) == JobStatus.FAILED


def test_a_job_can_be_asked_for_and_stopped(run_submit, cluster, monkeypatch):
    monkeypatch.setattr(submit, "train_command", lambda *arguments: "sleep 600")
    status, job, output = run_submit("--env", "NCCL_DEBUG=INFO")
    assert status == 0 and f"ray job stop --address {cluster.jobs} {job}" in output
    client = JobSubmissionClient(cluster.jobs)
    wait_for(client, job, JobStatus.RUNNING)
    assert client.get_job_info(job).runtime_env["env_vars"]["NCCL_DEBUG"] == "INFO"
    client.stop_job(job)
    assert wait_for(client, job, JobStatus.STOPPED, JobStatus.FAILED) == JobStatus.STOPPED
    assert submit.follow(client, job) == JobStatus.STOPPED  # which the command takes for a failure


def test_the_plain_ray_command_does_the_same(cluster, working_dir):
    command = [BIN / "ray", "job", "submit", "--address", cluster.jobs, "--working-dir", ".", "--"]
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

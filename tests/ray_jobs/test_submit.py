"""Submission to a real Ray cluster. The jobs are cheap: runs that end, or can be stopped, before they train."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from pepo_rlhf.config import parse_arguments
from ray_jobs import submit
from ray_jobs.runtime_env import runtime_env

BIN = Path(sys.executable).parent
CONFIG = ["--config", "examples/quickstart.yaml"]
RUN = ["--actor.model_name_or_path", "/shared/model", "--data.prompt_dataset", "owner/data", "--run.dir", "/shared/run"]


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


def test_a_job_that_succeeds_is_followed_to_its_end(run_submit, monkeypatch):
    parsed = parse_arguments([*CONFIG, *RUN], validated=False)  # with --print_config it prints, and ends the command
    monkeypatch.setattr(submit, "parse_arguments", lambda *arguments, **options: parsed)
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
    status, job, output = run_submit("--env", "NCCL_DEBUG=INFO", *RUN)
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
        (["--run.dir", "runs/first"], "--run.dir runs/first is relative, and a job's working directory is deleted"),
        (["--config", "runs/first/config.yaml"], "runs/first/config.yaml is left out of the upload; move it, or"),
        (["--config", "secrets/.env.yaml"], ".env.yaml is left out of the upload"),
        (["--config", "ignored.yaml"], "ignored.yaml is left out of the upload"),
        (["--actor.model_name_or_path", "runs/model"], "--actor.model_name_or_path runs/model is not there"),
        (["--actor.model_name_or_path", "./model"], "--actor.model_name_or_path model is not there, below "),
        (["--data.prompt_dataset", "owner/data,runs/first"], "--data.prompt_dataset runs/first is left out of the"),
        (["--eval.dataset", "rows.jsonl"], "--eval.dataset rows.jsonl is not there"),
        (["--data.image_root", "../images"], "--data.image_root ../images lies outside --working-dir"),
        (["--reward.functions", "[build/mine.py:mine]"], "--reward.functions build/mine.py is left out"),
        (["--pepo.method", "mine.py:Mine"], "--pepo.method mine.py is not there"),
        (["--env", "HF_TOKEN=abc"], "--env HF_TOKEN looks like a secret"),
        (["--address", "http://127.0.0.1:1"], "Failed to connect"),
        (["--address", "127.0.0.1:6379"], "--address 127.0.0.1:6379 is no job server's: write http://HEAD:8265"),
        (["--address", "auto"], "--address auto is no job server's"),
    ],
)
def test_a_mistake_is_one_line_and_submits_nothing(monkeypatch, working_dir, capsys, flags, message):
    monkeypatch.chdir(working_dir)
    for file in ("runs/first/config.yaml", "secrets/.env.yaml", "ignored.yaml", "build/mine.py"):
        (working_dir / file).parent.mkdir(parents=True, exist_ok=True)
        (working_dir / file).write_text("pepo: {alpha: 0.1}\n")
    (working_dir / ".gitignore").write_text("ignored.yaml\n")
    assert submit.main(["--address", "http://127.0.0.1:1", *CONFIG, *RUN, *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "abc" not in error and error.count("\n") == 1


def test_a_package_above_the_job_servers_limit_names_its_largest_files(monkeypatch, working_dir, capsys):
    monkeypatch.chdir(working_dir)
    with (working_dir / "large.bin").open("wb") as file:
        file.truncate(101 * 2**20)
    assert submit.main(["--address", "http://127.0.0.1:1", *CONFIG, *RUN]) == 2
    error = capsys.readouterr().err
    assert "MiB to upload, and a job server takes 100; the largest files are " in error
    assert f"{working_dir}/large.bin (101 MiB), " in error and "a line in .rayignore" in error
    (working_dir / ".rayignore").write_text("*.bin\n")
    assert submit.main(["--address", "http://127.0.0.1:1", *CONFIG, *RUN]) == 2
    assert "Failed to connect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--logger.wandb.key", "s3cret"], "--logger.wandb.key is not offered here: a secret: set the environment"),
        (["--logger.wandb.key=s3cret"], "--logger.wandb.key is not offered here: a secret"),
        (["--hub.token", "s3cret"], "--hub.token is not a setting"),
        (["--pepo.alpha", "high"], "--pepo.settings.alpha must be a number, not 'high'"),
    ],
)
def test_a_flag_that_train_refuses_is_not_submitted(monkeypatch, working_dir, capsys, flags, message):
    monkeypatch.chdir(working_dir)
    monkeypatch.setattr(submit, "JobSubmissionClient", None)
    with pytest.raises(SystemExit) as exit_info:
        submit.main([*CONFIG, *flags])
    error = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert error.startswith(f"error: {message}") and error.count("\n") == 1 and "s3cret" not in error


def test_flags_that_only_the_cluster_can_judge_are_submitted(monkeypatch, working_dir, capsys):
    """The key of wandb is in the environment there; the model may lie there."""
    submitted = []
    client = SimpleNamespace(submit_job=lambda entrypoint, runtime_env: submitted.append(entrypoint))
    monkeypatch.setattr(submit, "JobSubmissionClient", lambda address: client)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.chdir(working_dir)
    assert submit.main([*CONFIG, *RUN, "--logger.wandb.enable"]) == 0
    words = [*CONFIG, *RUN, "--logger.wandb.enable"]
    assert submitted == [f"python -m pepo_rlhf.train {' '.join(words)}"]


def test_every_configuration_file_is_submitted(working_dir, monkeypatch):
    (working_dir / "more.yaml").write_text("pepo: {alpha: 0.1}\n")
    monkeypatch.chdir(working_dir)
    command = submit.train_command([Path("examples/quickstart.yaml"), Path("more.yaml")], Path(), ["--pepo.alpha", "1"])
    assert command == ("python -m pepo_rlhf.train --config examples/quickstart.yaml --config more.yaml --pepo.alpha 1")


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID", "CLIENT_SECRET", "GOOGLE_APPLICATION_CREDENTIALS"),
        *(
            "DB_PASS",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "SSH_PASSPHRASE",
            "NGROK_AUTHTOKEN",
            "APIKEY",
            "db_pass",
        ),
    ],
)
def test_a_variable_that_looks_like_a_secret_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"^--env {name} looks like a secret"):
        runtime_env(tmp_path, {name: "abc"})


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "KEYBOARD", "MONKEY", "VLLM_BYPASS", "PASSTHROUGH", "SECRETARY"]
)
def test_a_variable_that_only_holds_the_letters_is_not(tmp_path, name):
    assert runtime_env(tmp_path, {name: "1"})["env_vars"][name] == "1"


def test_runtime_environment(tmp_path):
    environment = runtime_env(tmp_path, {"NCCL_DEBUG": "INFO"}, install=True)
    assert environment["working_dir"] == str(tmp_path)
    assert {".git", ".venv", "runs", ".env*", ".netrc"} <= set(environment["excludes"])
    assert environment["env_vars"] == {"PYTHONUNBUFFERED": "1", "NCCL_DEBUG": "INFO"}
    assert all("==" in package for package in environment["pip"])

"""A run is asked to stop by a file; the lock is held by a process as a run's is."""

import json
import os
import signal
import subprocess
import sys

import pytest

from pepo_rlhf import stop
from pepo_rlhf.controller import run_lock, stop_request
from pepo_rlhf.controller.stop_request import StopRequest


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    code = (
        "import sys; from pathlib import Path; from pepo_rlhf.controller import run_lock; "
        "run_lock.hold(Path(sys.argv[1])); print(flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("reason", stop_request.REASONS)
def test_a_run_is_asked_once_it_runs_and_says_why(tmp_path, holder, reason):
    request = StopRequest(tmp_path)
    assert not request.is_set()
    assert stop.ask(tmp_path, reason)
    assert request.is_set() and request.reason == reason


def test_a_folder_without_a_run_is_left_alone(tmp_path):
    StopRequest(tmp_path)
    assert not stop.ask(tmp_path, "user") and not stop.ask(tmp_path / "absent", "user")
    assert not (tmp_path / "STOP").exists()


def test_an_earlier_attempts_file_is_removed_and_one_that_comes_late_is_ignored(tmp_path, holder):
    first = StopRequest(tmp_path)
    late = stop_request.running_attempt(tmp_path)
    stop.ask(tmp_path, "user")
    stop_request.forget(tmp_path)
    second = StopRequest(tmp_path)
    assert not (tmp_path / "STOP").exists() and not second.is_set()
    stop_request.ask(tmp_path, "preempted", late)
    assert not second.is_set() and first.is_set()


def test_a_pod_of_another_cluster_stops_nothing_and_a_user_does(tmp_path, holder, monkeypatch):
    monkeypatch.setenv("RAY_CLUSTER_NAME", "job-2")
    request = StopRequest(tmp_path)
    monkeypatch.setenv("RAY_CLUSTER_NAME", "job-1")
    assert not stop.ask(tmp_path, "preempted") and not request.is_set()
    assert stop.ask(tmp_path, "user") and request.is_set()


def test_while_a_run_starts_nothing_is_asked_that_it_would_forget(tmp_path, holder, capsys):
    StopRequest(tmp_path)
    stop_request.forget(tmp_path)  # as the next attempt does, until it has found its checkpoint
    assert not stop.ask(tmp_path, "user") and not (tmp_path / "STOP").exists()
    assert "the run is starting; ask again" in capsys.readouterr().out


def test_the_first_sigterm_after_a_file_still_leaves_time_for_the_checkpoint(tmp_path, holder):
    request = StopRequest(tmp_path)
    stop.ask(tmp_path, "preempted")
    assert request.is_set()
    request._on_sigterm(signal.SIGTERM, None)
    assert request.reason == "preempted"
    with pytest.raises(KeyboardInterrupt):
        request._on_sigterm(signal.SIGTERM, None)


def test_a_folder_that_cannot_be_read_keeps_no_other_from_being_asked(tmp_path, holder, monkeypatch, capsys):
    request = StopRequest(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "attempt").write_bytes(b"\xff")
    monkeypatch.setattr(sys, "argv", ["stop", str(damaged), str(tmp_path)])
    stop.main()
    assert request.is_set() and f"{damaged}: 'utf-8' codec" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", "stop please", json.dumps({"reason": "user"})])
def test_a_file_that_is_not_this_programs_stops_nothing(tmp_path, text):
    request = StopRequest(tmp_path)
    (tmp_path / "STOP").write_text(text)
    assert not request.is_set()


def test_the_command_waits_until_the_run_has_ended(tmp_path, holder):
    StopRequest(tmp_path)
    command = [sys.executable, "-m", "pepo_rlhf.stop", str(tmp_path), "--wait"]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=5)
    holder.kill()
    assert waiting.wait(timeout=10) == 0
    assert waiting.communicate()[0] == f"{tmp_path}: the run ends after its step, with a checkpoint\n"
    assert not run_lock.is_held(tmp_path)


def test_the_first_sigterm_asks_and_the_second_ends_at_once(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    try:
        request = StopRequest(tmp_path)
        request.listen_to_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.is_set() and request.reason == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

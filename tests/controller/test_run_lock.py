"""Who may work in a run folder."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from pepo_rlhf.controller import run_lock

HOLD = (
    "import sys; from pathlib import Path; from pepo_rlhf.controller import run_lock; run_lock.hold(Path(sys.argv[1]));"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path, and has started one that outlives it."""
    code = HOLD + "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process
    process.kill()
    os.kill(child, 9)  # it holds the pipe that is read to its end next
    process.communicate()


def test_a_folder_in_use_is_refused_in_one_line_and_is_free_after_a_kill(tmp_path, holder):
    with pytest.raises(ValueError, match="^--run.dir .* is in use by another train command: [^\n]*$"):
        run_lock.hold(tmp_path)
    assert run_lock.is_held(tmp_path)
    holder.kill()
    holder.wait()
    assert not run_lock.is_held(tmp_path)
    run_lock.hold(tmp_path)


def test_the_file_of_a_run_that_has_ended_locks_nothing(tmp_path):
    subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], check=True)
    assert (tmp_path / "run.lock").exists() and not run_lock.is_held(tmp_path)
    run_lock.hold(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog, code):
    def flock(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    run_lock.hold(tmp_path)
    (warning,) = caplog.messages
    assert warning.startswith(f"--run.dir {tmp_path} has no file locks")
    assert run_lock.is_held(tmp_path), "who can say"


def test_other_errors_are_passed_on(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError):
        run_lock.hold(tmp_path)

import errno
import os
import shutil
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfDiskError, RayTaskError

from pepo_rlhf.checkpoints.folders import CheckpointError
from pepo_rlhf.config import Config
from pepo_rlhf.controller.failures import explain
from pepo_rlhf.controller.watchdog import Stalled


def in_a_task(cause):
    """As Ray raises it in the process that asked."""
    return RayTaskError("fit", "a long traceback", cause).as_instanceof_cause()


def config_of(run_dir, resume="auto"):
    config = Config()
    config.run.dir, config.ckpt.resume = str(run_dir), resume
    return config


NEXT = "there is no checkpoint: the same command begins anew"


def test_the_error_of_a_process_behind_a_process_is_one_line():
    nested = in_a_task(in_a_task(CheckpointError("the disk is full:\n  make room")))
    assert explain(nested, Config()) == f"the disk is full:; make room; {NEXT}"
    assert explain(Stalled("update has not ended"), Config()) == f"update has not ended; {NEXT}"


def test_what_a_signal_handler_raises_while_ray_waits():
    try:
        raise SystemError("<cyfunction CoreWorker.wait> returned a result with an exception set") from Stalled("update")
    except SystemError as error:
        assert explain(error, Config()) == f"update; {NEXT}"
    assert explain(SystemError("of its own"), Config()) is None


def test_programming_errors_keep_their_traceback():
    assert explain(in_a_task(ZeroDivisionError("division by zero")), Config()) is None


class OtherError(Exception):
    """As a library in Rust or C++ raises it."""


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "([Errno 28] No space left on device)"),
        (OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl"), "left on device: 'metrics.jsonl'"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        (OtherError("I/O error: No space left on device (os error 28)"), "I/O error: No space left on device"),
        (OutOfDiskError("spilling failed"), "spilling failed; The object cannot be created"),
    ],
)
def test_a_full_disk_is_one_line_with_the_space_where_a_run_writes(tmp_path, monkeypatch, cause, reason):
    free = {str(tmp_path): 49_000_000, "/dev/shm": 2_000_000_000}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free.get(place, 3_210_000_000)))
    monkeypatch.setattr(os.path, "isdir", lambda place: True)
    monkeypatch.setattr("tempfile.tempdir", "/scratch")
    line = explain(in_a_task(cause), config_of(tmp_path))
    assert line.startswith("a disk is full, and the run ends (") and reason in line
    assert f"Free here: 0.0 GB in {tmp_path}, 3.2 GB in /scratch, 2.0 GB in /dev/shm. Make room" in line
    assert "\n" not in line


def test_what_the_kernel_says_of_a_full_disk(tmp_path):
    with pytest.raises(OSError) as caught, open("/dev/full", "a") as file:
        file.write("a line of metrics.jsonl\n")
    line = explain(in_a_task(caught.value), config_of(tmp_path))
    assert line.startswith("a disk is full, and the run ends ([Errno 28] No space left on device). Free here: ")
    assert f" GB in {tmp_path}, " in line


def test_the_death_of_a_worker_names_the_checkpoint_that_the_run_goes_on_from(tmp_path, write_whole_checkpoint):
    checkpoint = write_whole_checkpoint(config_of(tmp_path), 4)
    line = explain(in_a_task(ActorDiedError()), config_of(tmp_path))
    assert line.startswith("a process of the run has died") and line.endswith(f"goes on from {checkpoint}")

"""When a checkpoint is due by time, and whether it finds room. Writing one is tested in tests/checkpoints."""

import time
from types import SimpleNamespace

import pytest

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.config import parse_arguments
from pepo_rlhf.controller import checkpoints
from pepo_rlhf.controller.checkpoints import Checkpoints

REQUIRED = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def free(monkeypatch):
    disk = SimpleNamespace(free=100)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda path: disk)
    return disk


def make(tmp_path, seconds=0, *flags):
    """Checkpoints of 60 bytes each, whose writing takes so many seconds."""
    config = parse_arguments([*REQUIRED, "--run.dir", str(tmp_path), *flags])
    made = Checkpoints(config, SimpleNamespace(async_run_method=lambda *args: []), None, num_bytes=60)
    made._seconds = seconds
    return made


def test_by_default_after_ten_minutes_and_20_times_what_one_takes(tmp_path, clock, free):
    quick, slow = make(tmp_path), make(tmp_path, seconds=60)
    clock.now += 599
    assert not quick.is_due(1)
    clock.now += 1
    assert quick.is_due(1) and not slow.is_due(1)
    clock.now += 599
    assert not slow.is_due(1)
    clock.now += 1
    assert slow.is_due(1)


@pytest.mark.parametrize("flags", [["--ckpt.save_minutes", "-1"], ["--ckpt.disable_ds"]])
def test_never_where_it_is_turned_off_or_nothing_could_be_resumed(tmp_path, clock, free, flags):
    off = make(tmp_path, 0, *flags)
    clock.now += 1e9
    assert not off.is_due(1)


def test_one_that_does_not_fit_is_left_out_with_a_warning_each_time_it_is_due(tmp_path, clock, free, caplog):
    full = make(tmp_path)
    free.free = 59
    clock.now += 600
    assert not full.is_due(1) and not full.is_due(2)
    clock.now += 600
    assert not full.is_due(3)
    assert [record.message.partition(",")[0] for record in caplog.records] == ["no checkpoint is written"] * 2


def test_the_best_one_stays_where_older_ones_make_room(tmp_path, write_whole_checkpoint):
    config = make(tmp_path).config
    first, second = write_whole_checkpoint(config, 1), write_whole_checkpoint(config, 2)
    best = second.with_name("best_global_step2")
    second.rename(best)
    folders.remove_older_than(best)
    assert best.exists() and not first.exists()
    folders.remove_older_than(write_whole_checkpoint(config, 3))
    assert best.exists()


def test_older_ones_make_room_and_the_newest_stays(tmp_path, clock, free, monkeypatch, write_whole_checkpoint):
    tight = make(tmp_path)
    old, newest = write_whole_checkpoint(tight.config, 1), write_whole_checkpoint(tight.config, 2)
    size = folders.size_of(newest)
    monkeypatch.setattr(
        checkpoints.shutil, "disk_usage", lambda path: SimpleNamespace(free=size - 1 + size * (not old.exists()))
    )
    clock.now += 600
    assert tight.is_due(3)
    assert not old.exists() and newest.exists()

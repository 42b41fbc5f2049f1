import importlib
import json
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pepo_rlhf.config import Config
from pepo_rlhf.metrics.run_log import RunLog
from pepo_rlhf.metrics.trackers import start_trackers
from pepo_rlhf.train import write_config


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    config = Config()
    config.run.dir = str(tmp_path / "run")
    return config


def log_two_steps(config):
    config.run_dir.mkdir()
    write_config(config)
    with RunLog(config.run_dir, 2, (), start_trackers(config)) as log:
        for step in (1, 2):
            log.write_step(step, {"reward": 0.5, "kl": 0.1, "time_step": 1.0})
        log.write_evaluation(2, {"eval_reward": 0.5})
    return [json.loads(line) for line in (config.run_dir / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_alone_is_started_unless_more_is_asked_for(config):
    log_two_steps(config)
    reader = EventAccumulator(str(config.tensorboard_dir / "run"))
    reader.Reload()
    assert {"train/reward", "train/kl", "eval/reward"} <= set(reader.Tags()["scalars"])
    assert [(event.step, event.value) for event in reader.Scalars("train/reward")] == [(1, 0.5), (2, 0.5)]


def test_wandb_gets_every_record(config, tmp_path):
    """The real library, offline: its run folder holds what would be uploaded."""
    importlib.import_module("wandb").teardown()  # it keeps the environment of its first use in the process
    config.logger.wandb.enable = True
    assert len(log_two_steps(config)) == 2
    (binary,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 30  # its service process may still be writing when finish() returns
    while b"global_step" not in binary.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_trackio_gets_every_record(config, tmp_path):
    pytest.importorskip("trackio")
    config.logger.trackio.enable = True
    assert len(log_two_steps(config)) == 2
    assert any((tmp_path / "trackio").rglob("*"))

import json
import time
from pathlib import Path

import pytest

from pepo_rlhf.config import Config, to_arguments
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
    args = to_arguments(config)
    run_dir = Path(args.run.dir)
    write_config(config, run_dir)
    log = RunLog(args.run.dir, start_trackers(args))
    for step in (1, 2):
        log.write_step(step, {"rollout/reward_mean": 0.5, "kl": 0.1})
    log.close()
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_no_tracker_is_started_unless_asked_for(config):
    assert start_trackers(to_arguments(config)) == []


def test_wandb_gets_every_record(config, tmp_path):
    """The real library, offline: its run folder holds what would be uploaded."""
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

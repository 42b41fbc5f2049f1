"""What the same command will do: each text beside what `pepo_rlhf.train.checkpoint_to_resume` then does."""

import pytest

from pepo_rlhf.config import Config
from pepo_rlhf.controller.run_folder import next_start
from pepo_rlhf.train import checkpoint_to_resume


@pytest.fixture
def config(tmp_path):
    config = Config()
    config.run.dir = str(tmp_path)
    return config


def write_steps(config):
    (config.run_dir / "metrics.jsonl").write_text('{"step": 1}\n')


def write_checkpoint(config, write_whole_checkpoint):
    write_steps(config)
    return write_whole_checkpoint(config, 1)


def test_a_checkpoint_is_what_auto_and_must_go_on_from(config, write_whole_checkpoint):
    checkpoint = write_checkpoint(config, write_whole_checkpoint)
    for config.ckpt.resume in ("auto", "must"):
        assert next_start(config) == f"the same command goes on from {checkpoint}"
        assert checkpoint_to_resume(config) == checkpoint


def test_without_a_checkpoint_auto_begins_anew(config):
    assert next_start(config) == "there is no checkpoint: the same command begins anew"
    write_steps(config)
    assert next_start(config) == "there is no checkpoint: the same command begins anew, and sets these steps aside"
    assert checkpoint_to_resume(config) is None


def test_without_a_checkpoint_must_is_refused(config):
    config.ckpt.resume = "must"
    assert next_start(config) == "there is no checkpoint, which --ckpt.resume must asks for: begin anew with auto"
    with pytest.raises(ValueError, match="must finds no whole checkpoint"):
        checkpoint_to_resume(config)


def test_never_begins_anew_in_an_empty_folder_alone(config, write_whole_checkpoint):
    config.ckpt.resume = "never"
    assert next_start(config) == "there is no checkpoint: the same command begins anew"
    assert checkpoint_to_resume(config) is None
    write_steps(config)
    refused = "with --ckpt.resume never the same command needs another --run.dir"
    assert next_start(config) == f"there is no checkpoint; {refused}"
    checkpoint = write_checkpoint(config, write_whole_checkpoint)
    assert next_start(config) == f"--ckpt.resume auto goes on from {checkpoint}; {refused}"
    with pytest.raises(ValueError, match="holds a run; choose another"):
        checkpoint_to_resume(config)

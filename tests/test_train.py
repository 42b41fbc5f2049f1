"""What the train command does before Ray starts. The run itself is tested in tests/e2e."""

import errno
import logging
import os

import pytest

from pepo_rlhf import train
from pepo_rlhf.checkpoints import folders
from pepo_rlhf.config import parse_arguments, to_arguments
from pepo_rlhf.train import check_inputs, checkpoint_to_resume, open_run_folder, require_unfinished, write_config

REQUIRED = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


def test_config_yaml_resolves_to_the_same_settings(tmp_path):
    run_dir = ["--run.dir", str(tmp_path)]
    config = parse_arguments(
        [*REQUIRED, *run_dir, "--actor.adam.lr", "3e-5", "--actor.eps_clip_low_high", "0.2", "0.28"]
    )
    write_config(config)
    assert parse_arguments(["--config", str(tmp_path / "config.yaml")]) == config


def resume(run_dir, mode):
    """What the command finds to resume from, in a run folder."""
    return checkpoint_to_resume(parse_arguments([*REQUIRED, "--run.dir", str(run_dir), "--ckpt.resume", mode]))


def write_checkpoint(run_dir):
    checkpoint = run_dir / "checkpoints" / "global_step2"
    folders.begin(checkpoint)
    states = folders.partial(checkpoint) / "states.pt"
    states.write_bytes(b"weights")
    folders.commit(checkpoint, {"states.pt": folders.seal(states)}, parse_arguments([*REQUIRED]))
    return checkpoint


def test_a_new_run_begins_and_one_that_must_resume_stops(tmp_path):
    assert resume(tmp_path, "auto") is None
    assert resume(tmp_path, "never") is None
    with pytest.raises(ValueError, match="^--ckpt.resume must finds no whole checkpoint in .*checkpoints"):
        resume(tmp_path, "must")


def test_a_run_with_a_checkpoint_goes_on_unless_it_is_told_not_to(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    checkpoint = write_checkpoint(tmp_path)
    assert resume(tmp_path, "auto") == resume(tmp_path, "must") == checkpoint
    with pytest.raises(ValueError, match="--run.dir .* holds a run; choose another"):
        resume(tmp_path, "never")


def test_a_run_killed_before_its_first_checkpoint_begins_anew_and_a_finished_one_does_not(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    assert resume(tmp_path, "auto") is None
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="holds a finished run without checkpoints; choose another"):
        resume(tmp_path, "auto")


def test_a_run_without_a_checkpoint_is_set_aside_whole_when_the_folder_is_used_again(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="pepo_rlhf")
    for number in (1, 2):
        open_folder(tmp_path)
        (tmp_path / "metrics.jsonl").write_text('{"global_step": 1}\n' * number)
        (tmp_path / "tokens").mkdir()
        (tmp_path / "verifier.py").touch()
        train.run_lock._held.clear()  # as the end of the process does
    open_folder(tmp_path)
    assert caplog.text.count("is set aside in") == 2
    for number in (1, 2):
        aside = tmp_path / f"earlier_{number}"
        assert len((aside / "metrics.jsonl").read_text().splitlines()) == number
        assert sorted(path.name for path in aside.iterdir()) == ["config.yaml", "metrics.jsonl", "tokens"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("config.yaml", "earlier_1", "earlier_2", "run.lock", "verifier.py")
    ]


@pytest.mark.parametrize("saved", ["model", "adapter"])
def test_a_finished_run_is_refused_and_goes_on_for_more_episodes(tmp_path, saved):
    (tmp_path / "metrics.jsonl").write_text('{"global_step": 1}\n' * 3)
    (tmp_path / saved).mkdir()
    flags = [*REQUIRED, "--run.dir", str(tmp_path), "--rollout.batch_size", "8", "--train.num_episodes"]
    with pytest.raises(ValueError, match="holds a finished run of 3 steps"):
        require_unfinished(parse_arguments([*flags, "1"]), num_rows=31)  # 3 batches of 8, and 7 rows
    require_unfinished(parse_arguments([*flags, "2"]), num_rows=31)


def test_a_run_killed_while_it_saved_its_model_goes_on(tmp_path):
    config = parse_arguments([*REQUIRED, "--run.dir", str(tmp_path)])
    (tmp_path / "metrics.jsonl").write_text("{}\n" * 2)
    (tmp_path / "model").mkdir()
    with pytest.raises(ValueError, match="holds a finished run"):
        train.require_unfinished(config, 2 * config.rollout.batch_size)
    (tmp_path / "model.unfinished").touch()
    train.require_unfinished(config, 2 * config.rollout.batch_size)
    write_checkpoint(tmp_path)
    assert train.checkpoint_to_resume(config) is not None


def test_secrets_of_the_environment_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "very-secret" * 5)
    monkeypatch.setenv("HF_TOKEN", "very-secret")
    config = parse_arguments([*REQUIRED, "--run.dir", str(tmp_path), "--logger.wandb.enable"])
    write_config(config)
    assert "very-secret" not in (tmp_path / "config.yaml").read_text()
    assert "very-secret" not in repr(to_arguments(config))


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    config = parse_arguments(["--actor.model_name_or_path", str(tmp_path), "--data.prompt_dataset", "x"])
    with pytest.raises(ValueError, match="^--actor.model_name_or_path .*[^\n]*$"):
        check_inputs(config)


def open_folder(run_dir):
    return open_run_folder(parse_arguments([*REQUIRED, "--run.dir", str(run_dir)]))


def test_a_run_folder_is_made_with_its_settings(tmp_path):
    assert open_folder(tmp_path / "runs" / "first") is None
    assert (tmp_path / "runs" / "first" / "config.yaml").exists()


def test_a_second_command_in_a_run_folder_is_refused_and_leaves_its_settings(tmp_path):
    open_folder(tmp_path)
    (tmp_path / "config.yaml").write_text("of the first")
    with pytest.raises(ValueError, match="^--run.dir .* is in use by another train command"):
        open_folder(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "of the first"


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("name", "reason"), [("file/run", "Not a directory"), ("file", "File exists"), ("a" * 300, "File name too long")]
)
def test_a_run_folder_that_cannot_be_made_is_one_line(tmp_path, name, reason):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=f"^--run.dir .* cannot be used .*{reason}.*: mend that, or name another"):
        open_folder(tmp_path / name)


def test_a_full_disk_is_one_line_before_ray_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "write_config", full_disk)
    with pytest.raises(ValueError, match="^--run.dir .* cannot be used .*No space left on device"):
        open_folder(tmp_path)

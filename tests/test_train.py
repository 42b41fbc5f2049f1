"""What the train command does before Ray starts. The run itself is tested in tests/e2e."""

import pytest

from pepo_rlhf.config import Config, parse_arguments, to_arguments
from pepo_rlhf.train import check_inputs, write_config

REQUIRED = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


def test_config_yaml_resolves_to_the_same_settings(tmp_path):
    config = parse_arguments([*REQUIRED, "--actor.adam.lr", "3e-5", "--actor.eps_clip_low_high", "0.2", "0.28"])
    write_config(config, tmp_path)
    assert parse_arguments(["--config", str(tmp_path / "config.yaml")]) == config


def test_a_folder_that_holds_a_run_is_not_written_into(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="--run.dir .* holds a run; choose another"):
        write_config(Config(), tmp_path)
    resumed = Config()
    resumed.ckpt.load_enable = True
    write_config(resumed, tmp_path)


def test_secrets_of_the_environment_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "very-secret")
    monkeypatch.setenv("HF_TOKEN", "very-secret")
    config = parse_arguments([*REQUIRED, "--logger.wandb.enable"])
    write_config(config, tmp_path)
    assert "very-secret" not in (tmp_path / "config.yaml").read_text()
    assert "very-secret" not in repr(to_arguments(config))


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    args = to_arguments(parse_arguments(["--actor.model_name_or_path", str(tmp_path), "--data.prompt_dataset", "x"]))
    with pytest.raises(ValueError, match="^--actor.model_name_or_path .*[^\n]*$"):
        check_inputs(args)

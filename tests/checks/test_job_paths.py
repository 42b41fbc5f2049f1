"""Paths of a submitted run. What submit says of them is in tests/ray_jobs."""

from pathlib import Path

import pytest

from pepo_rlhf.checks.job_paths import is_submitted, relative_paths, require_lasting_run_folder, require_uploaded
from pepo_rlhf.config import Config


def test_hub_ids_and_whole_paths_are_not_relative_paths(tmp_path):
    config = Config()
    config.actor.model_name_or_path, config.data.prompt_dataset = "Qwen/Qwen2.5-VL-3B-Instruct", "/data/a, owner/data"
    assert list(relative_paths(config, tmp_path)) == []
    (tmp_path / "owner/data").mkdir(parents=True)
    assert list(relative_paths(config, tmp_path)) == [("--data.prompt_dataset", Path("owner/data"))]


def test_files_of_functions_and_classes_are_found(tmp_path):
    config = Config()
    config.reward.functions = ["format", "mine.py:mine", "/shared/other.py:other"]
    config.pepo.method, config.data.task = "my.py:Mine", "runs/shapes:SHAPES"
    assert list(relative_paths(config, tmp_path)) == [
        ("--reward.functions", Path("mine.py")),
        ("--pepo.method", Path("my.py")),
        ("--data.task", Path("runs/shapes")),
    ]


def test_a_relative_run_folder_of_a_job_is_refused():
    config = Config()
    config.run.dir = "/shared/run"
    require_lasting_run_folder(config)
    config.run.dir = "runs/first"
    with pytest.raises(ValueError, match="^--run.dir runs/first is relative.*; name a folder by its whole path"):
        require_lasting_run_folder(config)


def test_what_a_package_leaves_out_is_not_asked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.actor.model_name_or_path = "owner/model"
    require_uploaded(config)
    config.actor.model_name_or_path = "runs/model"
    with pytest.raises(ValueError, match="^--actor.model_name_or_path runs/model: a job's package leaves runs out; "):
        require_uploaded(config)
    (tmp_path / "runs/model").mkdir(parents=True)  # a working directory that came another way
    require_uploaded(config)


def test_a_job_is_known_by_what_ray_gives_it(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert not is_submitted()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert is_submitted()

"""The command: its table, its exit status, and what `train` takes from it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from unittest import mock

import pytest

from pepo_rlhf import check, train
from pepo_rlhf.checks import inputs
from pepo_rlhf.checks.finding import error, ok, warning


@pytest.fixture
def words(flags):
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def run(words, monkeypatch, capsys):
    """Runs the command in this process; returns exit status and lines."""

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["check", *words, *more])
        return check.main(), capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("param_dtype", ["bf16", "fp32"])
def test_a_sound_run_passes_in_less_than_a_minute(words, tmp_path, param_dtype):
    start = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-m", "pepo_rlhf.check", *words, "--run.dir", str(tmp_path / "run")]
    command += ["--ds.param_dtype", param_dtype]
    without_gpus = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # of which this machine may have any number
    done = subprocess.run(command, capture_output=True, text=True, env=without_gpus)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [line.split()[1] for line in done.stdout.splitlines()[:-1] if line.startswith("ok")]
    expected = [
        "settings",
        "placement",
        "run.dir",
        "weighting",
        "model",
        "data",
        "data",
        "rewards",
        "disk",
        "/dev/shm",
        "versions",
    ]
    assert names == [*expected, "model", "tokenizer", "rewards", "vision", "compiler"]
    assert done.stdout.splitlines()[-1] == "no errors"
    assert not (tmp_path / "run").exists()
    assert time.monotonic() - start < 60


def test_every_broken_rule_is_in_the_table_with_its_flags(run):
    status, lines = run("--train.batch_size", "6", "--rollout.max_new_tokens", "500")
    assert status == 1
    assert [line.split()[:2] for line in lines if line.startswith("error")] == [["error", "settings"]] * 2
    assert any("--data.max_len" in line for line in lines if line.startswith(" "))
    assert lines[-1] == "2 errors"


def test_a_value_out_of_range_ends_the_checks(run):
    status, lines = run("--rollout.temperature", "2.5")
    assert status == 1
    assert lines[0].startswith("error    settings   --rollout.temperature must be")


def test_what_two_checks_stumble_over_is_tried_and_told_once(run, tmp_path, monkeypatch):
    check_model = mock.Mock(wraps=inputs.check_model)
    monkeypatch.setattr(inputs, "check_model", check_model)
    status, lines = run("--actor.model_name_or_path", str(tmp_path))
    errors = [line for line in lines if line.startswith("error")]
    assert status == 1
    check_model.assert_called_once_with(str(tmp_path))
    assert lines[-1] == "1 error"
    assert len([line for line in errors if line.split()[1] == "model"]) == 1
    assert len({line.split(maxsplit=2)[2] for line in errors}) == len(errors)


@pytest.mark.parametrize(
    ("more", "address", "on_this_machine"),
    [
        ([], None, True),
        ([], "auto", False),
        (["--cluster", "auto"], None, False),
        (["--manifest", "rendered.yaml"], None, False),
    ],
)
def test_the_machines_gpus_count_where_the_run_is_on_it(run, monkeypatch, more, address, on_this_machine):
    monkeypatch.setenv("RAY_ADDRESS", address) if address else monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(check, "run_checks", lambda checks, inputs: [(name, ok("")) for name, _ in checks])
    assert ("machine" in {line.split()[1] for line in run(*more)[1][:-1]}) == on_this_machine


@pytest.mark.parametrize(("more", "status"), [([], 1), (["--manifest", "rendered.yaml"], 0)])
def test_the_key_of_a_tracker_is_not_looked_for_here_where_the_run_is_in_pods(run, monkeypatch, more, status):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(check, "run_checks", lambda checks, inputs: [])
    assert run("--logger.wandb.enable", "true", *more)[0] == status


def test_a_wrong_flag_is_a_usage_error(run):
    with pytest.raises(SystemExit) as exit_:
        run("--pepo.alhpa", "1")
    assert exit_.value.code == 2


def test_a_finding_takes_its_flags_from_its_words():
    assert error("--a.b 3 exceeds --c.d_e; lower --a.b.").flags == ("--a.b", "--c.d_e")
    assert warning("no flag in it", "--x.y").flags == ("--x.y",)


def test_train_stops_at_an_error_and_prints_a_warning(make_inputs, monkeypatch, caplog):
    args = make_inputs().config
    monkeypatch.setattr(check, "CHEAP", [("some", lambda inputs: [warning("careful")])])
    train.check_inputs(args)
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "some: careful")]
    monkeypatch.setattr(check, "CHEAP", [("some", lambda inputs: [warning("careful"), error("wrong")])])
    with pytest.raises(ValueError, match="^wrong$"):
        train.check_inputs(args)

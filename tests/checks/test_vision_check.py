from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pepo_rlhf.checks import vision_check
from pepo_rlhf.checks.vision_check import check_blindness, check_gate
from pepo_rlhf.compat import wiring
from pepo_rlhf.controller import cluster, placement


@pytest.fixture(autouse=True)
def bindings_of_this_process_stay(monkeypatch):
    """They would hold in all tests that follow; test_command.py has the command in a process of its own."""
    monkeypatch.setattr(wiring, "apply", lambda: None)


@pytest.fixture
def cut_model(tiny_model, tmp_path):
    """The tiny model, its projector's last layer set to zero: every image looks the same."""
    model = shutil.copytree(tiny_model, tmp_path / "cut")
    weights = load_file(model / "model.safetensors")
    for name, weight in weights.items():
        if "visual.merger.mlp.2." in name:
            weight.zero_()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


def test_a_model_that_sees_passes_with_the_measured_numbers(make_inputs, run_check):
    found = run_check(check_blindness, make_inputs())
    assert "the model sees: nats a token that another image changes: " in found["ok"][0].message


def test_a_model_whose_image_path_is_cut_is_an_error(cut_model, make_inputs, run_check):
    (finding,) = run_check(check_blindness, make_inputs(actor__model_name_or_path=cut_model))["error"]
    assert finding.message.startswith("the model is blind") and "0 (blank), 0 (another row's)" in finding.message
    assert finding.flags == ("--actor.model_name_or_path",)


def test_a_large_model_is_left_to_the_workers(make_inputs, run_check, monkeypatch):
    monkeypatch.setattr(vision_check, "_MAX_PARAMETERS", 1e5)
    assert "check --gate" in run_check(check_blindness, make_inputs())["warning"][0].message


def test_the_flag_of_the_runs_gate_holds_here_too(make_inputs, run_check):
    assert run_check(check_blindness, make_inputs(pepo__blindness_check="false"))["warning"]


@pytest.fixture
def gate_of(monkeypatch, make_inputs, run_check):
    """Findings of `check --gate`, where `pass_gate` stands for the start of the workers."""

    def findings(pass_gate):
        monkeypatch.setattr(cluster, "connect", lambda args: None)
        monkeypatch.setattr(placement, "pass_gate", pass_gate)
        return run_check(check_gate, make_inputs())

    return findings


def test_a_passed_gate_leaves_nothing_in_the_folder_of_the_run_that_is_to_come(gate_of):
    seen = []

    def pass_gate(args):
        seen.append(args)
        (Path(args.run.dir) / "blindness.json").write_text("{}")

    assert gate_of(pass_gate)["ok"]
    assert not seen[0].logger.wandb.enable and not seen[0].logger.trackio.enable
    assert Path(seen[0].logger.tensorboard_dir).parent == Path(seen[0].run.dir) and not Path(seen[0].run.dir).exists()


def test_a_gate_that_asked_nothing_is_not_passed(gate_of):
    (finding,) = gate_of(lambda args: None)["warning"]
    assert "--pepo.blindness_check" in finding.message

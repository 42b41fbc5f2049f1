from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file

from pepo_rlhf.checks import vision_check
from pepo_rlhf.checks.vision_check import check_model_sees, check_workers_see
from pepo_rlhf.controller import cluster, run
from pepo_rlhf.controller.vision_check import VisionError


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
    found = run_check(check_model_sees, make_inputs())
    assert "the model sees: nats a token that another image changes: " in found["ok"][0].message


def test_a_model_whose_image_path_is_cut_is_an_error(cut_model, make_inputs, run_check):
    (finding,) = run_check(check_model_sees, make_inputs(actor__model_name_or_path=cut_model))["error"]
    assert finding.message.startswith("the model is blind") and "0 (blank), 0 (another row's)" in finding.message
    assert finding.flags == ("--actor.model_name_or_path",)


def test_a_large_model_is_left_to_the_workers(make_inputs, run_check, monkeypatch):
    monkeypatch.setattr(vision_check, "_MAX_PARAMETERS", 1e5)
    assert "check --vision_check" in run_check(check_model_sees, make_inputs())["warning"][0].message


def test_the_flag_of_the_runs_check_holds_here_too(make_inputs, run_check):
    assert run_check(check_model_sees, make_inputs(run__vision_check="false"))["warning"]


@pytest.fixture
def found_with(monkeypatch, make_inputs, run_check):
    """Findings of `check --vision_check`, where a function stands for the start of the workers."""

    def findings(run_vision_check):
        monkeypatch.setattr(cluster, "connect", lambda config: None)
        monkeypatch.setattr(run, "run_vision_check", run_vision_check)
        return run_check(check_workers_see, make_inputs())

    return findings


def test_a_passed_check_leaves_nothing_in_the_folder_of_the_run_that_is_to_come(found_with):
    seen = []

    def passes(config, prompts, processor):
        seen.append(config)
        assert len(prompts) == 12
        (config.run_dir / "vision_check.json").write_text("{}")

    assert found_with(passes)["ok"]
    assert not seen[0].run_dir.exists()


def test_a_failed_check_is_an_error(found_with):
    def fails(config, prompts, processor):
        raise VisionError("policy is blind: look at --data.max_pixels")

    (finding,) = found_with(fails)["error"]
    assert finding.flags == ("--data.max_pixels",)


def test_a_check_that_was_not_made_is_not_passed(found_with):
    (finding,) = found_with(lambda config, prompts, processor: None)["warning"]
    assert "no prompt has an image" in finding.message

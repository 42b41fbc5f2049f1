from __future__ import annotations

import json
import shutil

import pytest

from pepo_rlhf.checks.model import check_config, check_processor, check_weights


@pytest.fixture
def altered(tiny_model, tmp_path, make_inputs):
    """Inputs whose model is a copy with some settings of config.json replaced."""

    def alter(**settings):
        model = shutil.copytree(tiny_model, tmp_path / "altered")
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | settings))
        return make_inputs(actor__model_name_or_path=model)

    return alter


@pytest.mark.parametrize("check", [check_config, check_processor, check_weights])
def test_a_whole_model_passes(check, make_inputs, run_check):
    found = run_check(check, make_inputs())
    assert found["ok"] and not found["warning"] + found["error"]


def test_parameters_are_counted_without_weights(make_inputs, run_check):
    inputs = make_inputs()
    run_check(check_weights, inputs)
    assert 0.9e6 < inputs.num_parameters < 1.1e6


def test_weights_that_are_cut_off_are_an_error(altered, run_check):
    inputs = altered()
    file = inputs.args.actor.model_name_or_path + "/model.safetensors"
    with open(file, "r+b") as weights:
        weights.truncate(1000)
    (finding,) = run_check(check_weights, inputs)["error"]
    assert file in finding.message and finding.flags == ("--actor.model_name_or_path",)


def test_model_and_processor_must_mean_the_same_token(altered, run_check):
    (finding,) = run_check(check_processor, altered(image_token_id=7))["error"]
    assert "token 7 to the model's config.json" in finding.message


def test_a_context_longer_than_the_model_is_an_error(make_inputs, run_check):
    (finding,) = run_check(check_config, make_inputs(data__max_len=4096))["error"]
    assert "2048 positions, fewer than --data.max_len 4096" in finding.message


def test_a_model_without_a_vision_part_is_an_error(make_inputs, run_check, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (finding,) = run_check(check_config, make_inputs(actor__model_name_or_path=tmp_path))["error"]
    assert "has no vision part" in finding.message


def test_a_folder_without_a_model_is_one_line_with_the_flag(make_inputs, tmp_path):
    with pytest.raises(ValueError, match=r"^--actor.model_name_or_path .*[^\n]*$"):
        list(check_config(make_inputs(actor__model_name_or_path=tmp_path)))

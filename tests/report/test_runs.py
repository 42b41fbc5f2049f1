import json
import math

import pytest

from pepo_rlhf.report.rounding import rounded, rounded_list
from pepo_rlhf.report.runs import differing_settings, read_run, score_differences


def test_four_significant_digits_and_null_for_what_json_cannot_hold():
    assert rounded_list([0.0123456, -1234.56, 1.0, 0.0]) == [0.01235, -1235.0, 1.0, 0.0]
    assert rounded(math.nan) is None and rounded(math.inf) is None


def test_a_run_is_read_with_its_settings_flat(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"global_step": 1, "reward": 0.123456, "kl": NaN}\n')
    (tmp_path / "config.yaml").write_text("pepo:\n  alpha: 0.05\nreward:\n  weights: {}\n  functions: [format]\n")
    run = read_run(tmp_path)
    assert run["steps"] == [{"global_step": 1, "reward": 0.1235, "kl": None}]
    assert run["settings"] == {"pepo.alpha": "0.05", "reward.weights": "{}", "reward.functions": '["format"]'}
    assert run["evaluations"] == [] and run["name"] == tmp_path.name and run["verifier"] == "format"


def test_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: no metrics.jsonl"):
        read_run(tmp_path)


def test_a_line_that_was_cut_off_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"global_step": 1}) + '\n{"global_st')
    with pytest.raises(ValueError, match="metrics.jsonl line 2"):
        read_run(tmp_path)


def test_differing_settings_name_what_one_run_lacks():
    a, b = {"x": "1", "y": "2", "old": "3"}, {"x": "1", "y": "4", "new": "5"}
    assert differing_settings(a, b) == [("y", "2", "4"), ("old", "3", None), ("new", None, "5")]


def evaluation(step, value, low, high):
    return {"global_step": step, "eval_accuracy": value, "eval_accuracy_low": low, "eval_accuracy_high": high}


def test_accuracy_difference_and_its_interval_by_hand():
    a = [evaluation(0, 0.2, 0.1, 0.3), evaluation(10, 0.4, 0.36, 0.43)]
    b = [evaluation(10, 0.5, 0.46, 0.53), evaluation(20, 0.6, 0.5, 0.7)]
    # below: hypot(0.5 - 0.46, 0.43 - 0.4) = 0.05; above: hypot(0.53 - 0.5, 0.4 - 0.36) = 0.05
    assert score_differences(a, b, "accuracy") == [
        {"step": 10, "a": 0.4, "b": 0.5, "difference": 0.1, "low": 0.05, "high": 0.15}
    ]

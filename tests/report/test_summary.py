import json

import pytest

from pepo_rlhf.report.summary import draw_learning_curve, quarters, smooth, table, verifier_of


@pytest.fixture
def run_dir(tmp_path):
    steps = [
        {"global_step": i + 1, "reward": i / 8, "accuracy": i / 16, "format": 1.0, "time_step": 60.0} for i in range(8)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    evaluations = [
        {
            "global_step": step,
            "eval_accuracy": value,
            "eval_accuracy_low": value - 0.1,
            "eval_accuracy_high": value + 0.1,
        }
        for step, value in ((0, 0.25), (8, 0.5))
    ]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(evaluation) + "\n" for evaluation in evaluations))
    return tmp_path


def test_quarters_by_hand():
    assert quarters([0.0, 1.0, 5.0, 5.0, 5.0, 5.0, 2.0, 4.0]) == (0.5, 3.0)
    assert quarters([1.0, 2.0]) == (1.0, 2.0)


def test_smooth_looks_back_only():
    assert smooth([1.0, 3.0, 5.0], width=2) == [1.0, 2.0, 4.0]


def test_table_says_before_and_after(run_dir):
    text = table(run_dir)
    reward = next(line for line in text.splitlines() if line.startswith("reward"))
    assert reward.split()[-2:] == ["0.062", "0.812"]  # means of 0, 1/8 and of 6/8, 7/8
    assert "0.250 [0.150, 0.350]" in text and "0.500 [0.400, 0.600]" in text
    assert "8 steps in 8.0 minutes" in text


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="no metrics.jsonl"):
        table(tmp_path)


def test_picture_is_a_png(run_dir, tmp_path):
    draw_learning_curve([run_dir], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("functions", "names", "verifier"),
    [
        (["format", "accuracy"], ("eval_format", "eval_accuracy", "eval_accuracy_low"), "accuracy"),
        (["format", "iou", "iou50"], ("eval_iou_low", "eval_iou50_low"), "iou50"),
        (["choice", "my/length.py:shortness"], ("eval_reward", "eval_choice_low"), "choice"),
        (["format", "my/length.py:shortness"], (), "shortness"),
        (None, ("eval_choice_low",), "choice"),
        (None, (), "reward"),
    ],
)
def test_a_run_is_judged_by_its_last_component_with_an_interval(tmp_path, functions, names, verifier):
    if functions:
        (tmp_path / "config.yaml").write_text(json.dumps({"reward": {"functions": functions}}))
    if names:
        (tmp_path / "evaluations.jsonl").write_text(json.dumps(dict.fromkeys(names, 0.5)))
    assert verifier_of(tmp_path) == verifier


def test_a_run_without_held_out_scores_has_its_table_and_curve(run_dir, tmp_path):
    (run_dir / "evaluations.jsonl").write_text('{"global_step": 0, "eval_reward": 1}\n{"global_step": 8}\n')
    (run_dir / "config.yaml").write_text(json.dumps({"reward": {"functions": ["format", "accuracy"]}}))
    assert [line.split(",")[0] for line in table(run_dir).splitlines()[1:4]] == ["reward", "accuracy", "format"]
    draw_learning_curve([run_dir], tmp_path / "curve.png")


def test_a_run_of_boxes_has_its_table_and_curve(tmp_path):
    step = {"global_step": 1, "reward": 0.4, "iou50": 0.25, "time_step": 60.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(step) + "\n")
    evaluation = {"eval_iou50": 0.5, "eval_iou50_low": 0.4, "eval_iou50_high": 0.6}
    lines = [json.dumps({"global_step": step} | evaluation) + "\n" for step in (0, 1)]
    (tmp_path / "evaluations.jsonl").write_text("".join(lines))
    text = table(tmp_path)
    assert "iou50, training samples" in text and "0.500 [0.400, 0.600]" in text
    draw_learning_curve([tmp_path], tmp_path / "curve.png")

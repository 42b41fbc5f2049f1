import json
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import study

STUDY = Namespace(task="counting", name="", num_rows=512, runs=Path("runs"))


def test_a_run_is_the_quick_start_with_a_methods_settings():
    config = study.settings(STUDY, "pepo_d", 3, ["--pepo.alpha", "1"])
    assert (config.pepo.method, config.actor.loss_agg_mode, config.train.seed) == ("pepo", "token-mean", 3)
    assert (config.pepo.settings["alpha"], config.rollout.batch_size, config.data.max_samples) == (1, 16, 512)
    assert config.run.dir == "runs/study/counting_pepo_d_seed3"
    assert (config.actor.model_name_or_path, config.eval.dataset) == (
        "runs/warm_start_counting",
        "runs/counting/test.jsonl",
    )


def test_a_run_of_boxes_is_rewarded_by_their_overlap():
    config = study.settings(Namespace(**{**vars(STUDY), "task": "grounding"}), "grpo", 1, [])
    assert (config.reward.functions, config.reward.weights) == (["format", "iou", "iou50"], {"iou50": 0.0})
    assert (config.rollout.max_new_tokens, config.pepo.method) == (32, "uniform")


def test_a_finished_run_is_kept_in_a_few_numbers(tmp_path):
    steps = [{"global_step": step, **dict.fromkeys((*study.CURVES, "iou50"), step / 3)} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    names = (
        "eval_iou",
        "eval_iou_low",
        "eval_iou_high",
        "eval_iou50",
        "eval_iou50_low",
        "eval_iou50_high",
        "eval_reward",
    )
    evaluations = [{"global_step": step, **dict.fromkeys(names, value)} for step, value in ((0, 0.2), (2, 0.6))]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in evaluations))
    kept = study.record(tmp_path, 61.7)
    assert (kept["num_steps"], kept["seconds"]) == (2, 62)
    assert (kept["verifier"], kept["before"]["eval_iou50"], kept["after"]["eval_iou50"]) == ("iou50", 0.2, 0.6)
    assert kept["curves"]["reward"] == kept["curves"]["iou50"] == [0.3333, 0.6667]


def test_only_runs_without_a_result_are_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "counting_grpo_seed1.json").write_text("{}")
    made = []
    monkeypatch.setattr(study, "run_all", lambda study, missing, flags: made.extend(missing))
    command = ["study", "--task", "counting", "--results", str(tmp_path), "--seeds", "1", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--methods", "grpo", "pepo_g"])
    study.main()
    assert made == [("pepo_g", 1), ("grpo", 2), ("pepo_g", 2)]
    assert "1 of 4 runs have a result; 3 to go" in capsys.readouterr().out


def test_changed_settings_need_a_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["study", "--task", "counting", "--pepo.alpha", "1"])
    with pytest.raises(SystemExit):
        study.main()
    assert "need a --name" in capsys.readouterr().err

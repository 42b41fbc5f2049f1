import json
import logging

import pytest

from pepo_rlhf.metrics.run_log import RunLog


@pytest.fixture(autouse=True)
def lines_of_the_console(caplog):
    caplog.set_level(logging.INFO, logger="pepo_rlhf")


def make(run_dir, num_steps=3, shown=(), **settings):
    return RunLog(run_dir, num_steps, shown, **settings)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Tracker:
    def __init__(self):
        self.steps, self.finished = [], False

    def log(self, record, step):
        self.steps.append((step, sorted(record)))

    def finish(self):
        self.finished = True


def test_one_object_a_step_and_a_line_with_what_is_shown(tmp_path, caplog):
    log = make(tmp_path / "run", num_steps=2, shown=("reward", "accuracy"))
    log.constants["rows_skipped"] = 3
    log.write_step(1, {"reward": 0.5, "kl": 0.1, "time_step": 2.0})
    log.write_step(2, {"reward": 0.5, "kl": 0.2, "time_step": 2.0})
    assert read(tmp_path / "run" / "metrics.jsonl") == [
        {"global_step": 1, "reward": 0.5, "kl": 0.1, "time_step": 2.0, "rows_skipped": 3},
        {"global_step": 2, "reward": 0.5, "kl": 0.2, "time_step": 2.0, "rows_skipped": 3},
    ]
    lines = caplog.messages
    assert lines[0].startswith("step 1 of 2: reward 0.500, 2.0 s")
    assert lines[1].endswith("0 min 00 s left")


def test_trackers_get_every_so_many_steps_and_every_evaluation_and_are_ended(tmp_path):
    tracker = Tracker()
    with make(tmp_path, trackers=[tracker], tracker_steps=2) as log:
        for step in (1, 2, 3):
            log.write_step(step, {"time_step": 1.0})
        log.write_evaluation(3, {"eval_reward": 0.5})
    assert [step for step, _ in tracker.steps] == [2, 3]
    assert tracker.steps[1][1] == ["eval_reward", "global_step"]
    assert tracker.finished


@pytest.mark.parametrize("verifier", ["accuracy", "iou50"])
def test_evaluations_go_to_a_file_of_their_own_and_say_the_verifiers_score(verifier, tmp_path, caplog):
    log = make(tmp_path)
    log.write_evaluation(
        0, {f"eval_{verifier}{end}": value for end, value in (("", 0.25), ("_low", 0.2), ("_high", 0.3))}
    )
    assert read(tmp_path / "evaluations.jsonl")[0][f"eval_{verifier}"] == 0.25
    assert f"step 0: {verifier} 0.250 (95% interval 0.200 to 0.300)" in caplog.text


def test_advice_after_a_resume_knows_the_steps_before_it(tmp_path):
    seen = []
    for resumed_at, steps in ((0, (1, 2, 3)), (2, (3,))):
        log = make(tmp_path, diagnose=lambda records: seen.append([r["global_step"] for r in records]) or {})
        log.roll_back(resumed_at)
        for step in steps:
            log.write_step(step, {"time_step": 1.0})
    assert seen[-1] == [1, 2, 3]


def test_advice_is_given_when_a_finding_starts_to_hold(tmp_path, caplog):
    log = make(tmp_path, diagnose=lambda records: {"sad": "cheer up"} if records[-1]["kl"] > 1 else {})
    for step, kl in enumerate([0, 2, 2, 0, 2], start=1):
        log.write_step(step, {"kl": kl, "time_step": 1.0})
    advice = [line for line in caplog.messages if "cheer up" in line]
    assert advice == ["advice after step 2: cheer up", "advice after step 5: cheer up"]


def test_what_lies_beyond_the_checkpoint_is_set_aside_and_no_step_stands_twice(tmp_path, caplog):
    log = make(tmp_path)
    for step in (1, 2, 3):
        log.write_step(step, {"kl": 0.5, "time_step": 1.0})
        log.write_evaluation(step, {"eval_accuracy": 0.5, "eval_accuracy_low": 0.4, "eval_accuracy_high": 0.6})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"global_step": 4, "k')  # the kill
    (tmp_path / "tokens").mkdir()
    for step in (2, 3):
        (tmp_path / "tokens" / f"step_{step:06d}.parquet").touch()
    resumed = make(tmp_path)
    resumed.roll_back(2)
    assert "2 lines of metrics.jsonl lie beyond step 2" in caplog.text
    assert [line["global_step"] for line in read(tmp_path / "metrics.jsonl")] == [1, 2]
    assert [line["global_step"] for line in read(tmp_path / "evaluations.jsonl")] == [1, 2]
    assert (tmp_path / "metrics_rolled_back.jsonl").read_text() == (
        '{"global_step": 3, "kl": 0.5, "time_step": 1.0}\n{"global_step": 4, "k'
    )
    assert sorted(path.name for path in (tmp_path / "tokens").iterdir()) == [
        "step_000002.parquet",
        "step_000003.rolled_back",
    ]
    assert resumed.evaluated_steps == {1, 2}
    resumed.write_step(3, {"time_step": 1.0})
    assert [line["global_step"] for line in read(tmp_path / "metrics.jsonl")] == [1, 2, 3]


def test_a_run_that_begins_has_nothing_to_set_aside(tmp_path):
    make(tmp_path / "run").roll_back(0)
    assert list((tmp_path / "run").iterdir()) == []

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pepo_rlhf.rewards import RewardError, load_rewards
from pepo_rlhf.rewards.reward import built_in
from pepo_rlhf.tasks import all_tasks, display_metric, find_task, read_problems, reward_names, thousandths


def test_every_family_is_found() -> None:
    expected = {"geometry3k", "virl39k", "mathvista", "mathverse", "mathverse_choice", "logicvista", "refcoco", "lisa"}
    expected |= {"puzzlevqa", "algopuzzlevqa", "fgvc_aircraft", "flowers102", "digits"}
    assert all_tasks().keys() == expected | {"counting", "grounding", "puzzles"}
    assert {verifier for task in all_tasks().values() for verifier in task.verifiers} <= built_in().keys()


def test_a_task_brings_its_rewards_and_the_metric_to_show() -> None:
    assert reward_names("refcoco") == ["format", "iou", "iou50"]
    assert display_metric(["format", "iou", "iou50"], "refcoco") == "iou50"
    assert display_metric(["format", "iou"], "refcoco") == "iou", "the task's own is not among the run's rewards"


@pytest.mark.parametrize(
    ("components", "shown"),
    [
        (["format", "accuracy", "letters"], "accuracy"),
        (["iou", "iou50"], "iou50"),
        (["format", "choice"], "choice"),
        (["format", "mine"], "mine"),
        (["format"], "format"),
    ],
)
def test_without_a_task_the_metric_to_show_is_one_that_some_task_shows(components: list[str], shown: str) -> None:
    assert display_metric(components) == shown


def test_a_task_in_a_folder_outside_reads_and_grades(shapes: Path, tmp_path: Path) -> None:
    name = f"{shapes}:SHAPES"
    (row,) = read_problems(find_task(name), str(tmp_path / "shapes.jsonl"), "train", thousandths())
    assert (row.prompt, row.label) == ("Which shape?", '{"shape": "circle"}')
    assert reward_names(name) == ["format", f"{shapes}:shape", "accuracy"]
    assert load_rewards(reward_names(name))("<answer>a circle</answer>", row.label)["shape"] == 1.0
    assert display_metric(["format", "shape", "accuracy"], name) == "accuracy"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("refcocoo", "unknown task 'refcocoo'; choose one of algopuzzlevqa, .*, virl39k, or name path/to/folder:Task"),
        ("absent/folder:SHAPES", "'absent/folder' is no folder of a task, which holds an __init__.py"),
        ("{shapes}:CIRCLES", "has no Task called 'CIRCLES'"),
        ("{shapes}:VERIFIERS", "has no Task called 'VERIFIERS'"),
    ],
)
def test_a_wrong_name_is_told_what_to_write(shapes: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_task(name.format(shapes=shapes))


def test_a_verifier_that_a_folder_has_not_is_named(shapes: Path) -> None:
    with pytest.raises(RewardError, match="unknown reward 'circle'; choose from shape"):
        load_rewards([f"{shapes}:circle"])


def test_a_folder_whose_code_fails_fails_again(shapes: Path) -> None:
    (shapes / "verifier.py").write_text("import no_such_package\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            find_task(f"{shapes}:SHAPES")


@pytest.mark.parametrize(
    "module", ["tasks", "tasks.puzzles", "tasks.puzzles.choice", "tasks.geometry", "toy", "rewards.answer", "rewards"]
)
def test_any_part_can_be_imported_first_and_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, pepo_rlhf.{module}; from pepo_rlhf.tasks import all_tasks; all_tasks(); print([m for m in"
    code += " ('torch', 'ray', 'vllm', 'sympy', 'datasets', 'sklearn', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

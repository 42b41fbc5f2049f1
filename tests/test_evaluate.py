"""The command with an engine that answers at once; tests/e2e has the real one."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from pepo_rlhf import evaluate
from pepo_rlhf.evaluation import engine
from pepo_rlhf.evaluation.benchmarks import answered, load_benchmark, predicted_answer
from pepo_rlhf.evaluation.engine import Generation, sample_seed
from pepo_rlhf.rewards.accuracy import accuracy_reward
from pepo_rlhf.tasks.puzzles.choice import choice_label
from pepo_rlhf.toy import grounding
from pepo_rlhf.toy.dataset import write_rows


class Oracle:
    """Answers sample 0 with the right box, and the others with one elsewhere."""

    asked: list[int] = []
    closed = 0
    fails_after = 100

    def __init__(self, settings, processor, pixels, max_images) -> None:
        assert max_images == 1
        self.settings = settings

    def close(self) -> None:
        Oracle.closed += 1

    def generate(self, rows, numbers) -> list[list[Generation]]:
        Oracle.asked += numbers
        if len(Oracle.asked) > Oracle.fails_after:
            raise KeyboardInterrupt
        return [
            [
                Generation(f"<think></think><answer>{box_in(row.label, sample)}</answer>", 5, False, sample)
                for sample in range(self.settings.num_samples)
            ]
            for row in rows
        ]


def box_in(label: str, sample: int) -> list[float]:
    return [0, 0, 1, 1] if sample else json.loads(label)["box"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    from pepo_rlhf.toy.tiny_vlm import build_config, build_processor

    path = tmp_path_factory.mktemp("model")
    processor = build_processor()
    processor.save_pretrained(path)
    build_config(processor.tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    write_rows(tmp_path / "test.jsonl", grounding.generate(5, seed=0, split="test"), "grounding")
    return tmp_path / "test.jsonl"


def test_a_model_with_fewer_positions_lowers_both_limits(arguments, capsys):
    assert evaluate.evaluate(arguments)["settings"]["max_len"] == 2048  # of the tiny model; 8192 is the default
    assert arguments.max_new_tokens == 1024
    assert capsys.readouterr().out.startswith("the model has 2048 positions: --max_len 2048, --max_new_tokens 1024\n")


@pytest.fixture
def arguments(model: Path, problems: Path, tmp_path: Path, monkeypatch) -> argparse.Namespace:
    monkeypatch.setattr(engine, "Engine", Oracle)
    monkeypatch.setattr(Oracle, "asked", [])
    monkeypatch.setattr(Oracle, "closed", 0)
    flags = ["--model", str(model), "--benchmark", f"grounding={problems}", "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["evaluate", *flags, "--num_samples", "4", "--batch_size", "2"])
    return evaluate._parse_arguments()


def test_scores_and_generations(arguments: argparse.Namespace) -> None:
    results = evaluate.evaluate(arguments)
    assert results == json.loads((arguments.output / "results.json").read_text())
    scores = results["benchmarks"]["grounding"]
    # One sample of four is right for each prompt: the vote goes to the others. A pair holds it in 3 of 6 cases.
    expected = {"avg@4": 0.25, "pass@1": 0.25, "pass@2": 0.5, "pass@4": 1.0, "majority@4": 0.0, "format": 1.0}
    assert expected.items() <= scores.items()
    assert (scores["low"], scores["high"], scores["num_prompts"], scores["left_out"]) == (0.25, 0.25, 5, {})
    rows = [
        row
        for file in (arguments.output / "grounding").glob("*.parquet")
        for row in parquet.read_table(file).to_pylist()
    ]
    assert len(rows) == 20
    assert {(row["number"], row["sample"]) for row in rows} == {(n, k) for n in range(5) for k in range(4)}
    assert all(row["score"] == (row["sample"] == 0) for row in rows)
    assert "grounding" in evaluate.table(results["benchmarks"]) and "25.00 [25.00, 25.00]" in evaluate.table(
        results["benchmarks"]
    )


def test_an_interrupted_evaluation_asks_for_what_is_missing_only(arguments, monkeypatch) -> None:
    monkeypatch.setattr(Oracle, "fails_after", 3)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(arguments)
    assert (Oracle.asked, Oracle.closed) == ([0, 1, 2, 3], 1)
    monkeypatch.setattr(Oracle, "fails_after", 100)
    Oracle.asked.clear()
    resumed = evaluate.evaluate(arguments)
    assert Oracle.asked == [2, 3, 4]
    Oracle.asked.clear()
    assert evaluate.evaluate(arguments) == resumed
    assert (Oracle.asked, Oracle.closed) == ([], 2), "nothing is missing: no engine"


def test_a_benchmark_that_was_asked_before_keeps_its_scores(arguments, problems: Path) -> None:
    first = evaluate.evaluate(arguments)["benchmarks"]
    arguments.benchmark = [f"grounding:val={problems}"]
    both = evaluate.evaluate(arguments)["benchmarks"]
    assert list(both) == ["grounding", "grounding:val"] and both["grounding"] == first["grounding"]


def test_weights_that_were_trained_on_since_need_another_output(arguments, tmp_path: Path) -> None:
    shutil.copytree(arguments.model, tmp_path / "model")
    arguments.model = str(tmp_path / "model")
    (weights := tmp_path / "model" / "model.safetensors").touch()
    evaluate.evaluate(arguments)
    evaluate.evaluate(arguments)
    os.utime(weights, (0, 1))
    with pytest.raises(ValueError, match="holds generations of other settings.*choose another --output"):
        evaluate.evaluate(arguments)


def test_an_output_of_other_settings_is_refused(arguments, problems: Path) -> None:
    evaluate.evaluate(arguments)
    arguments.temperature = 0.5
    with pytest.raises(ValueError, match="holds generations of other settings.*choose another --output"):
        evaluate.evaluate(arguments)
    asked, arguments.benchmark = arguments.benchmark, [f"grounding:val={problems}"]
    with pytest.raises(ValueError, match="holds generations of other settings"):
        evaluate.evaluate(arguments)
    assert list(json.loads((arguments.output / "results.json").read_text())["benchmarks"]) == ["grounding"]
    arguments.temperature, arguments.benchmark = 1.0, asked
    lines = problems.read_text()
    relabelled = json.loads(lines.splitlines()[0])
    relabelled["answer"] = '{"box": [0, 0, 9, 9], "frame": [112, 112]}'
    problems.write_text("\n".join([json.dumps(relabelled), *lines.splitlines()[1:]]))
    with pytest.raises(ValueError, match="prompt 0 is not the one that was generated for"):
        evaluate.evaluate(arguments)
    write_rows(problems, grounding.generate(5, seed=1, split="test"), "grounding")
    with pytest.raises(ValueError, match="the source has changed"):
        evaluate.evaluate(arguments)


def test_rows_that_cannot_be_scored_are_counted(arguments, problems: Path) -> None:
    with problems.open("a") as file:
        file.write('{"images": ["absent.png"], "problem": "Find x.", "answer": "13", "task": "grounding"}\n')
    results = evaluate.evaluate(arguments)["benchmarks"]
    assert results["grounding"]["left_out"] == {"images that do not decode": 1}
    assert "(1 left out)" in evaluate.table(results)


def test_answers_without_tags_count_where_the_protocol_says_so() -> None:
    from pepo_rlhf.tasks import find_task

    mathvista, counting_task = find_task("mathvista"), find_task("counting")
    assert answered("It is B.", mathvista) == "<answer>It is B.</answer>"
    assert answered("<think>x</think><answer>B", mathvista) == "<answer>B</answer>"
    assert answered("<answer>A</answer> B", mathvista) == "<answer>A</answer> B"
    geometry3k = find_task("geometry3k")
    box = r"\boxed{\frac{\sqrt{3}}{2}}"
    for end in (box, rf"\[ x = {box}. \]", f"**{box}**"):
        answer = answered(rf"<think>\boxed{{2}}</think> So it is {end}", geometry3k)
        assert accuracy_reward(answer, r"\frac{\sqrt{3}}{2}") == 1.0
    assert accuracy_reward(answered("<answer>13", geometry3k), "13") == 1.0
    assert accuracy_reward(answered(r"\boxed{13} is wrong", geometry3k), "13") == 0.0
    assert answered("It is B.", counting_task) == "It is B."
    from pepo_rlhf.tasks.puzzles.choice import choice_reward

    assert choice_reward(answered("So the answer is (B).", mathvista), choice_label("B", None)) == 1.0


@pytest.mark.parametrize("response", ["13", "<answer></answer>", "<answer>13"])
def test_no_answer_predicts_nothing(response: str) -> None:
    from pepo_rlhf.tasks import find_task

    assert predicted_answer(response, "13", False, find_task("counting")) is None


def test_a_task_in_a_folder_is_evaluated_under_its_own_name(arguments, problems: Path, shapes: Path) -> None:
    for split in ("", ":val"):
        benchmark = load_benchmark(f"{shapes}:SHAPES{split}={problems.with_name('shapes.jsonl')}", arguments, None)
        assert benchmark.name == f"shapes{split}"
        assert [row.label for row in benchmark.rows] == ['{"shape": "circle"}']


def test_seeds_differ_between_prompts_and_samples_and_repeat() -> None:
    seeds = {sample_seed(seed, number, sample) for seed in range(3) for number in range(50) for sample in range(8)}
    assert len(seeds) == 3 * 50 * 8
    assert sample_seed(1, 2, 3) == sample_seed(1, 2, 3)


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        ("mathvist", "unknown task 'mathvist'"),
        ("counting", "counting has no data set of its own"),
        ("counting=absent.jsonl", "absent.jsonl: no such file or folder"),
    ],
)
def test_a_mistake_in_a_benchmark_costs_no_engine(arguments, benchmark: str, message: str) -> None:
    arguments.benchmark = [benchmark]
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate(arguments)


def test_another_text_in_the_file_of_the_instruction_is_another_evaluation(arguments, tmp_path) -> None:
    file = tmp_path / "instruction.txt"
    file.write_text("Use <answer>.")
    arguments.instruction = str(file)
    assert evaluate.evaluate(arguments)["settings"]["instruction"] == "Use <answer>."
    file.write_text("Answer in <answer>.")
    with pytest.raises(ValueError, match="generations of other settings"):
        evaluate.evaluate(arguments)


def test_another_verifier_and_instruction_can_be_chosen(arguments: argparse.Namespace, monkeypatch) -> None:
    rows: list = []
    generate = Oracle.generate
    monkeypatch.setattr(
        Oracle, "generate", lambda self, asked, numbers: rows.extend(asked) or generate(self, asked, numbers)
    )
    arguments.verifier, arguments.instruction, arguments.max_prompts = "format_pairs", "Use <answer>.", 2
    scores = evaluate.evaluate(arguments)["benchmarks"]["grounding"]
    assert (scores["score"], scores["avg@4"], scores["iou50"]) == ("format_pairs", 1.0, 0.25)
    assert {row.instruction for row in rows} == {"Use <answer>."}

"""One benchmark of an evaluation: its rows, what is still to be generated, the grading, the scores."""

from __future__ import annotations

import argparse
import re
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.data import Row
from pepo_rlhf.data.prompt_measure import PromptMeasure
from pepo_rlhf.evaluation.scores import Sample, summarise
from pepo_rlhf.evaluation.store import GenerationStore
from pepo_rlhf.rewards import RewardService
from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.answer import mathematical_vote
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.tasks import Task, all_tasks, find_task, read_problems
from pepo_rlhf.tasks.frame import frame_of
from pepo_rlhf.tasks.reading import image_root_of
from pepo_rlhf.tasks.report import examine
from pepo_rlhf.tasks.run_rows import with_texts

if TYPE_CHECKING:
    from pepo_rlhf.evaluation.engine import Engine

# With two levels of braces in it; the last characters are what closes a formula, a sentence or bold type.
_FINAL_BOX = re.compile(r"\\boxed\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}[\s.$*)\]\\]*$")


@dataclass
class Benchmark:
    """A benchmark with its rows; left_out: rows that are not scored, by reason."""

    name: str
    task: Task
    source: str | None
    rows: list[Row]
    left_out: dict[str, int]


def load_benchmark(spec: str, args: argparse.Namespace, measure: PromptMeasure) -> Benchmark:
    """Return the rows of `NAME[:SPLIT][=SOURCE]`, where NAME may be path/to/folder:Task.

    Raises:
        ValueError: for an unknown task, and for a source without a row that can be scored.
    """
    named, _, source = spec.partition("=")
    words = named.split(":")
    num_words = 1 if words[0] in all_tasks() else 2
    task = find_task(":".join(words[:num_words]))
    split = ":".join(words[num_words:])
    # By the task's own name: generations are written to a folder of this name, and a path would lead elsewhere.
    name = f"{task.name}:{split}" if split else task.name
    rows: list[Row] = []
    frame = frame_of(args.frame, measure)
    problems = islice(read_problems(task, source or None, split or task.split, frame), args.max_prompts)
    asked = with_texts(problems, args.instruction, args.system_prompt)
    image_root = args.image_root or image_root_of(task, source or None)
    report = examine(name, asked, measure, image_root, rows.append)
    left_out = {reason: len(problems) for reason, problems in report.dropped.items() if problems}
    if not rows:
        reasons = [problem for problems in report.dropped.values() for problem in problems]
        raise ValueError(f"--benchmark {spec}: no row can be scored: {' | '.join(reasons[:3])}")
    if args.verifier:
        task = replace(
            task, verifiers=tuple(dict.fromkeys((*task.verifiers, args.verifier))), display_metric=args.verifier
        )
    return Benchmark(name, task, source or None, rows, left_out)


def missing_prompts(benchmark: Benchmark, store: GenerationStore, batch_size: int) -> list[list[int]]:
    """Return the numbers of the prompts without generations, in batches.

    Raises:
        ValueError: if a prompt is not the one that was generated for.
    """
    done = {row["number"]: (row["prompt"], row["label"]) for row in store.read()}
    asked = [(row.prompt, row.label) for row in benchmark.rows]
    for number, problem in done.items():
        if number >= len(asked) or asked[number] != problem:
            raise ValueError(
                f"{benchmark.name}: prompt {number} is not the one that was generated for; the source has changed, "
                "choose another --output"
            )
    missing = [number for number in range(len(asked)) if number not in done]
    return [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]


def generate_and_grade(benchmark: Benchmark, batches: list[list[int]], engine: Engine, store: GenerationStore) -> None:
    """Generate samples, grade them by the task's verifiers and write them, a batch of prompts at a time."""
    with closing(RewardService(Reward(functions=[*benchmark.task.verifiers]))) as service:
        for batch in batches:
            rows = [benchmark.rows[number] for number in batch]
            groups = engine.generate(rows, batch)
            graded = [
                (
                    number,
                    row,
                    sample,
                    generation,
                    service.submit(answered(generation.response, benchmark.task), row.label),
                )
                for number, row, group in zip(batch, rows, groups, strict=True)
                for sample, generation in enumerate(group)
            ]
            store.write([_record(benchmark.task, *item) for item in graded])
            print(f"{benchmark.name}: {batch[-1] + 1} of {len(benchmark.rows)} prompts", flush=True)


def answered(response: str, task: Task) -> str:
    """Return the response, its answer tagged where the benchmark's protocol takes text without tags for the answer."""
    if not task.untagged or extract_answer(response) is not None:
        return response
    text = response.rpartition("<answer>")[2]
    box = _FINAL_BOX.search(text)
    return f"<answer>{box.group(1) if box else text}</answer>"


def _record(task: Task, number: int, row: Row, sample: int, generation, grading) -> dict[str, Any]:
    grade = grading.result()
    score = grade.components[task.score]
    response = answered(generation.response, task)
    return {
        "number": number,
        "sample": sample,
        "source": row.source,
        "prompt": row.prompt,
        "label": row.label,
        # A response that was too much for the grader's limits is not tried again without them.
        "prediction": None if grade.error else predicted_answer(response, row.label, score == 1.0, task),
        "score": score,
        "components": [*grade.components.items(), ("format", format_reward(generation.response, row.label))],
        "error": grade.error,
        **generation._asdict(),
    }


def predicted_answer(response: str, label: str, right: bool, task: Task) -> str | None:
    """Return the response's answer in a form that equal answers share, by which a majority is counted.

    It is None for no answer. right: whether the answer was graded as equal to the label.
    """
    answer = extract_answer(response)
    return (task.vote or mathematical_vote)(answer, label, right) if answer else None


def summarise_benchmark(benchmark: Benchmark, generations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the scores, the means of the components, and the counts of what went wrong."""
    prompts: dict[int, list[Sample]] = {}
    for row in generations:
        prompts.setdefault(row["number"], []).append(Sample(row["score"], row["prediction"]))
    count = len(generations)
    components = {
        name: sum(dict(row["components"])[name] for row in generations) / count
        for name in dict(generations[0]["components"])
    }
    return {
        "score": benchmark.task.score,
        **summarise(list(prompts.values())),
        **components,
        "num_prompts": len(prompts),
        "left_out": benchmark.left_out,
        "no_answer": sum(row["prediction"] is None for row in generations) / count,
        "truncated": sum(row["truncated"] for row in generations) / count,
        "grader_errors": sum(row["error"] is not None for row in generations),
        "response_length": sum(row["num_tokens"] for row in generations) / count,
    }

"""python -m pepo_rlhf.evaluate --model DIR_OR_ID --benchmark NAME[:SPLIT][=SOURCE] ...: k samples a prompt, graded.

Writes below --output: NAME/*.parquet with every generation, results.json, and prints the table. The same command again
goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pepo_rlhf import runtime
from pepo_rlhf.config.learning import Reward
from pepo_rlhf.data import Row
from pepo_rlhf.pipeline.benchmark_scores import Sample, summarise
from pepo_rlhf.pipeline.generation_store import GenerationStore
from pepo_rlhf.rewards import RewardService
from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.answer import predicted_answer
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.runtime.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.tasks import TASKS, Task, find_task, read_problems
from pepo_rlhf.tasks.measure import PromptMeasure, frame_of, load_measure
from pepo_rlhf.tasks.report import examine
from pepo_rlhf.tasks.task import image_root_of

# Flags that generations depend on; another value of one is another evaluation.
GENERATION_FLAGS = (
    "model",
    "num_samples",
    "temperature",
    "top_p",
    "max_new_tokens",
    "max_len",
    "seed",
    "dtype",
    "frame",
    "min_pixels",
    "max_pixels",
    "max_prompts",
)


@dataclass
class Benchmark:
    """A benchmark with its rows; left_out: rows that are not scored, by reason."""

    name: str
    task: Task
    source: str | None
    rows: list[Row]
    left_out: dict[str, int]


def main() -> int:
    args = _parse_arguments()
    os.environ[TRUST_REMOTE_CODE] = "1" if args.trust_remote_code else "0"
    runtime.install()
    try:
        results = evaluate(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results["benchmarks"]))
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.evaluate", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder or hub id")
    parser.add_argument(
        "--benchmark", nargs="+", required=True, help=f"NAME[:SPLIT][=SOURCE], NAME one of {', '.join(TASKS)}"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to, or to go on in")
    parser.add_argument("--num_samples", type=int, default=8, help="samples of each prompt: the k of avg@k")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling")
    parser.add_argument("--top_p", type=float, default=1.0, help="of sampling")
    parser.add_argument("--max_new_tokens", type=int, default=2048, help="longest response")
    parser.add_argument("--max_len", type=int, default=8192, help="longest prompt and response together, in tokens")
    parser.add_argument("--max_prompts", type=int, help="prompts of each benchmark at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frame", choices=["pixels", "thousandths"], default="pixels", help="of boxes")
    parser.add_argument("--image_root", help="folder that image files must lie in; the source's own by default")
    parser.add_argument("--min_pixels", type=int, help="as --data.min_pixels of the training run")
    parser.add_argument("--max_pixels", type=int, help="as --data.max_pixels of the training run")
    parser.add_argument("--batch_size", type=int, default=64, help="prompts generated between two files")
    parser.add_argument("--dtype", default="auto", help="of the weights, in vLLM's words")
    parser.add_argument("--tensor_parallel_size", type=int, default=1, help="GPUs of the engine")
    parser.add_argument("--gpu_memory_utilization", type=float, default=0.9, help="share of a GPU's memory")
    parser.add_argument("--enforce_eager", action="store_true", help="no CUDA graphs, no compilation")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the model")
    return parser.parse_args()


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Generates what is missing, grades it, and writes results.json.

    Raises:
        ValueError: for an unknown benchmark, a source that cannot be read, or an output of other settings.
    """
    measure = load_measure(args.model, args.max_len - args.max_new_tokens, args.min_pixels, args.max_pixels)
    benchmarks = [_load(spec, args, measure) for spec in args.benchmark]
    settings = {name: getattr(args, name) for name in GENERATION_FLAGS}
    engine: Any = None
    results: dict[str, Any] = {"settings": settings, "benchmarks": {}}
    for benchmark in benchmarks:
        store = GenerationStore(args.output / benchmark.name.replace(":", "-"), settings | {"source": benchmark.source})
        batches = _missing(benchmark, store, args.batch_size)
        if batches and engine is None:
            from pepo_rlhf.pipeline.generation import Engine

            most = max(len(row.images) for benchmark in benchmarks for row in benchmark.rows)
            engine = Engine(args, measure.processor, measure.pixels, most)
        _generate(benchmark, batches, engine, store)
        results["benchmarks"][benchmark.name] = _summarise(benchmark, store.read())
        (args.output / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    return results


def _load(spec: str, args: argparse.Namespace, measure: PromptMeasure) -> Benchmark:
    name, _, source = spec.partition("=")
    task_name, _, split = name.partition(":")
    task = find_task(task_name)
    rows: list[Row] = []
    frame = frame_of(args.frame, measure)
    problems = islice(read_problems(task, source or None, split or task.split, frame), args.max_prompts)
    image_root = args.image_root or image_root_of(task, source or None)
    report = examine(name, problems, measure, image_root, rows.append)
    left_out = {reason: len(problems) for reason, problems in report.dropped.items() if problems}
    if not rows:
        reasons = [problem for problems in report.dropped.values() for problem in problems]
        raise ValueError(f"--benchmark {spec}: no row can be scored: {' | '.join(reasons[:3])}")
    return Benchmark(name, task, source or None, rows, left_out)


def _missing(benchmark: Benchmark, store: GenerationStore, batch_size: int) -> list[list[int]]:
    """Numbers of the prompts without generations, in batches."""
    done = {row["number"]: row["prompt"] for row in store.read()}
    for number, prompt in done.items():
        if number >= len(benchmark.rows) or benchmark.rows[number].prompt != prompt:
            raise ValueError(
                f"{benchmark.name}: prompt {number} is not the one that was generated for; the source has changed, "
                "choose another --output"
            )
    missing = [number for number in range(len(benchmark.rows)) if number not in done]
    return [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]


def _generate(benchmark: Benchmark, batches: list[list[int]], engine: Any, store: GenerationStore) -> None:
    if not batches:
        return
    defaults = Reward()
    with closing(
        RewardService(
            benchmark.task.verifiers,
            weights={},
            num_processes=defaults.num_processes,
            timeout_seconds=defaults.timeout_seconds,
            memory_mb=defaults.memory_mb,
        )
    ) as service:
        for batch in batches:
            rows = [benchmark.rows[number] for number in batch]
            groups = engine.generate(rows, batch)
            graded = [
                (
                    number,
                    row,
                    sample,
                    generation,
                    service.submit(_answered(generation.response, benchmark.task), row.label),
                )
                for number, row, group in zip(batch, rows, groups, strict=True)
                for sample, generation in enumerate(group)
            ]
            store.write([_record(benchmark.task, *item) for item in graded])
            print(f"{benchmark.name}: {batch[-1] + 1} of {len(benchmark.rows)} prompts", flush=True)


def _answered(response: str, task: Task) -> str:
    """The response, its answer tagged where the benchmark's protocol takes the text without tags for the answer."""
    if not task.untagged or extract_answer(response) is not None:
        return response
    return f"<answer>{response.rpartition('<answer>')[2]}</answer>"


def _record(task: Task, number: int, row: Row, sample: int, generation, grading) -> dict[str, Any]:
    grade = grading.result()
    return {
        "number": number,
        "sample": sample,
        "source": row.source,
        "prompt": row.prompt,
        "label": row.label,
        # What was too much for the grader's limits is not tried again without them.
        "prediction": None if grade.error else predicted_answer(_answered(generation.response, task), row.label),
        "score": grade.components[task.verifiers[0]],
        "components": [*grade.components.items(), ("format", format_reward(generation.response, row.label))],
        "error": grade.error,
        **generation._asdict(),
    }


def _summarise(benchmark: Benchmark, generations: list[dict[str, Any]]) -> dict[str, Any]:
    prompts: dict[int, list[Sample]] = {}
    for row in generations:
        prompts.setdefault(row["number"], []).append(Sample(row["score"], row["prediction"]))
    count = len(generations)
    components = {
        name: sum(dict(row["components"])[name] for row in generations) / count
        for name in dict(generations[0]["components"])
    }
    return {
        "score": benchmark.task.verifiers[0],
        **summarise(list(prompts.values())),
        **components,
        "num_prompts": len(prompts),
        "left_out": benchmark.left_out,
        "no_answer": sum(row["prediction"] is None for row in generations) / count,
        "truncated": sum(row["truncated"] for row in generations) / count,
        "grader_errors": sum(row["error"] is not None for row in generations),
        "response_length": sum(row["num_tokens"] for row in generations) / count,
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """The scores in %, a line a benchmark."""
    lines = []
    for name, result in results.items():
        scores = {key: value for key, value in result.items() if "@" in key}
        first, average = next(iter(scores.items()))
        interval = f"{100 * average:.2f} [{100 * result['low']:.2f}, {100 * result['high']:.2f}]"
        others = "  ".join(f"{key} {100 * value:.2f}" for key, value in scores.items() if key != first)
        left_out = f"  ({sum(result['left_out'].values())} left out)" if result["left_out"] else ""
        lines.append(f"{name:<22}{result['num_prompts']:>6} prompts  {first} {interval}  {others}{left_out}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

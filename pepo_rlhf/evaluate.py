"""python -m pepo_rlhf.evaluate --model DIR_OR_ID --benchmark NAME[:SPLIT][=SOURCE] ...: k samples a prompt, graded.

Writes below --output: NAME/*.parquet with every generation, results.json, and prints the table. The same command again
goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from pepo_rlhf import compat
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config.ranges import ABOVE_0_TO_1, AT_LEAST_0, AT_LEAST_1, FROM_0_TO_2, SEED, argument
from pepo_rlhf.data.prompt_measure import PromptMeasure, load_measure
from pepo_rlhf.evaluation.benchmarks import (
    Benchmark,
    generate_and_grade,
    load_benchmark,
    missing_prompts,
    summarise_benchmark,
)
from pepo_rlhf.evaluation.store import GenerationStore
from pepo_rlhf.tasks import all_tasks
from pepo_rlhf.tasks.run_rows import text_or_file

# Flags that generations depend on; another value of one is another evaluation.
GENERATION_FLAGS = (
    "model",
    "num_samples",
    "temperature",
    "top_p",
    "top_k",
    "instruction",
    "system_prompt",
    "verifier",
    "max_new_tokens",
    "max_len",
    "seed",
    "dtype",
    "frame",
    "min_pixels",
    "max_pixels",
    "max_prompts",
)


def main() -> int:
    args = _parse_arguments()
    os.environ[TRUST_REMOTE_CODE] = "1" if args.trust_remote_code else "0"
    compat.install()
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
        "--benchmark",
        nargs="+",
        required=True,
        help=f"NAME[:SPLIT][=SOURCE], NAME one of {', '.join(all_tasks())}, or path/to/folder:Task",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to, or to go on in")
    parser.add_argument(
        "--num_samples", type=argument(int, AT_LEAST_1), default=8, help="samples of each prompt: the k of avg@k"
    )
    parser.add_argument("--temperature", type=argument(float, FROM_0_TO_2), default=1.0, help="of sampling")
    parser.add_argument("--top_p", type=argument(float, ABOVE_0_TO_1), default=1.0, help="of sampling")
    parser.add_argument("--top_k", type=argument(int, AT_LEAST_0), default=0, help="of sampling; 0 keeps all tokens")
    parser.add_argument("--instruction", help="as --data.instruction of the training run: text or a file")
    parser.add_argument("--system_prompt", help="as --data.system_prompt of the training run: text or a file")
    parser.add_argument("--verifier", help="score by this built-in verifier instead of the task's own")
    parser.add_argument("--max_new_tokens", type=argument(int, AT_LEAST_1), default=2048, help="longest response")
    parser.add_argument(
        "--max_len",
        type=argument(int, AT_LEAST_1),
        default=8192,
        help="longest prompt and response, in tokens; a model may have room for less",
    )
    parser.add_argument("--max_prompts", type=argument(int, AT_LEAST_1), help="prompts of each benchmark at most")
    parser.add_argument("--seed", type=argument(int, SEED), default=0)
    parser.add_argument("--frame", choices=["pixels", "thousandths"], default="pixels", help="of boxes")
    parser.add_argument("--image_root", help="folder that image files must lie in; the source's own by default")
    parser.add_argument("--min_pixels", type=argument(int, AT_LEAST_1), help="as --data.min_pixels of the training run")
    parser.add_argument("--max_pixels", type=argument(int, AT_LEAST_1), help="as --data.max_pixels of the training run")
    parser.add_argument(
        "--batch_size", type=argument(int, AT_LEAST_1), default=64, help="prompts generated between two files"
    )
    parser.add_argument("--dtype", default="auto", help="of the weights, in vLLM's words")
    parser.add_argument("--tensor_parallel_size", type=argument(int, AT_LEAST_1), default=1, help="GPUs of the engine")
    parser.add_argument(
        "--gpu_memory_utilization", type=argument(float, ABOVE_0_TO_1), default=0.9, help="share of a GPU's memory"
    )
    parser.add_argument("--enforce_eager", action="store_true", help="no CUDA graphs, no compilation")
    parser.add_argument("--trust_remote_code", action="store_true", help="run code that comes with the model")
    return parser.parse_args()


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Generate what is missing, grade it, and write results.json. Return what that file holds.

    Raises:
        ValueError: for an unknown benchmark, a source that cannot be read, or an output of other settings.
    """
    _keep_to_positions(args)
    measure = load_measure(args.model, args.max_len - args.max_new_tokens, args.min_pixels, args.max_pixels)
    benchmarks = [load_benchmark(spec, args, measure) for spec in args.benchmark]
    settings = {name: getattr(args, name) for name in GENERATION_FLAGS} | {"weights": _written(args.model)}
    settings |= {name: text_or_file(getattr(args, name)) for name in ("instruction", "system_prompt")}
    engine: Any = None
    file = args.output / "results.json"
    # Benchmarks that were asked before keep their scores.
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results: dict[str, Any] = earlier or {"settings": settings, "benchmarks": {}}
    if results["settings"] != settings:
        raise ValueError(f"{args.output} holds generations of other settings ({file}); choose another --output")
    try:
        for benchmark in benchmarks:
            folder = args.output / benchmark.name.replace(":", "-")
            store = GenerationStore(folder, settings | {"source": benchmark.source})
            if batches := missing_prompts(benchmark, store, args.batch_size):
                engine = engine or _start_engine(args, measure, benchmarks)
                generate_and_grade(benchmark, batches, engine, store)
            results["benchmarks"][benchmark.name] = summarise_benchmark(benchmark, store.read())
            part = file.with_suffix(".part")  # written whole or not at all: the same command reads it again
            part.write_text(json.dumps(results, indent=2), encoding="utf-8")
            part.replace(file)
    finally:
        if engine is not None:
            engine.close()
    return results


def _keep_to_positions(args: argparse.Namespace) -> None:
    """Lower --max_len to the positions that the model has, and --max_new_tokens to half of that where it fills it."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(args.model, trust_remote_code=True)  # pepo_rlhf.compat decides
    positions = getattr(config.get_text_config(), "max_position_embeddings", args.max_len)
    if positions >= args.max_len:
        return
    args.max_len = positions
    if args.max_new_tokens >= positions:
        args.max_new_tokens = positions // 2
    print(f"the model has {positions} positions: --max_len {args.max_len}, --max_new_tokens {args.max_new_tokens}")


def _written(model: str) -> int | None:
    """Return when a folder's weights were written, in ns: a run that goes on writes others to the same place."""
    return max((file.stat().st_mtime_ns for file in Path(model).glob("*.safetensors")), default=None)


def _start_engine(args: argparse.Namespace, measure: PromptMeasure, benchmarks: list[Benchmark]) -> Any:
    from pepo_rlhf.evaluation.engine import Engine  # loads vLLM

    most = max(len(row.images) for benchmark in benchmarks for row in benchmark.rows)
    return Engine(args, measure.processor, measure.pixels, most)


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the scores in %, a line for each benchmark."""
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

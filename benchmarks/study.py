"""Methods and seeds from one warm start, on workers that are started once for all of them.

    python -m benchmarks.study --task counting|grounding [--methods NAME ...] [--seeds N ...] [--flag VALUE]

The warm start and the rows are those of examples/warm_start.sh, the settings the quick start's, with
examples/TASK_cpu.yaml where that is there. A method is a file of examples/methods; flags that are not the study's own
go to every run, and `--name` sets its results apart. Every finished run is a small JSON file of `--results`: one that
has its file is not made again, so that an interrupted study goes on, and machines can share the seeds. All methods of
a seed come before the next seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import threading
import time
from pathlib import Path

from pepo_rlhf import compat
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.report.summary import read_jsonl, verifier_of

NUM_ROWS = {"counting": 512, "grounding": 320}  # steps of 16, as many as four minutes of two cores hold
METHODS = ("grpo", "high_entropy", "pepo_g", "dapo", "pepo_d")
EXAMPLES = Path(__file__).parents[1] / "examples"
CURVES = ("reward", "entropy", "weight_p20", "weight_p80")


def settings(study: argparse.Namespace, method: str, seed: int, flags: list[str]) -> Config:
    """The quick start's, with a task's and a method's."""
    files = [EXAMPLES / "quickstart.yaml", EXAMPLES / f"{study.task}_cpu.yaml", EXAMPLES / "methods" / f"{method}.yaml"]
    rows = study.runs / study.task
    own = {
        "actor.model_name_or_path": warm_start(study),
        "data.prompt_dataset": rows / "train.jsonl",
        "data.max_samples": study.num_rows,
        "eval.dataset": rows / "test.jsonl",
        "run.dir": study.runs / "study" / run_name(study, method, seed),
        "train.seed": seed,
    }
    words = [word for file in files if file.exists() for word in ("--config", str(file))]
    words += [word for name, value in own.items() for word in (f"--{name}", str(value))]
    return parse_arguments([*words, *flags])


def warm_start(study: argparse.Namespace) -> Path:
    """The model that all runs begin with."""
    return study.runs / f"warm_start_{study.task}"


def run_name(study: argparse.Namespace, method: str, seed: int) -> str:
    """Of a run folder and of a file of results."""
    return "_".join(part for part in (study.task, method, study.name, f"seed{seed}") if part)


def record(run_dir: Path, seconds: float) -> dict:
    """What is kept of a finished run: held-out results before and after, and a few curves over its steps."""
    steps, evaluations = read_jsonl(run_dir / "metrics.jsonl"), read_jsonl(run_dir / "evaluations.jsonl")
    verifier = verifier_of(run_dir)
    names = (*(f"eval_{verifier}{end}" for end in ("", "_low", "_high")), "eval_reward")
    return {
        "verifier": verifier,
        "num_steps": len(steps),
        "seconds": round(seconds),
        "before": {name: evaluations[0][name] for name in names},
        "after": {name: evaluations[-1][name] for name in names},
        "curves": {name: [round(step[name], 4) for step in steps if name in step] for name in (verifier, *CURVES)},
    }


def run_all(study: argparse.Namespace, missing: list[tuple[str, int]], flags: list[str]) -> None:
    """Makes the runs one after the other."""
    import ray

    from pepo_rlhf.controller import cluster
    from pepo_rlhf.controller.placement import load_models, start_workers
    from pepo_rlhf.controller.run import num_updates, train
    from pepo_rlhf.controller.watchdog import Watchdog
    from pepo_rlhf.train import check_inputs, write_config

    first = settings(study, *missing[0], flags)
    inputs = check_inputs(first)
    rows = (inputs.training_rows, inputs.evaluation_rows)
    cluster.connect(first)
    model = hashlib.sha256((warm_start(study) / "model.safetensors").read_bytes()).hexdigest()[:16]
    try:
        with Watchdog(first.run.stall_timeout) as watchdog, start_workers(first, watchdog) as workers:
            for method, seed in missing:
                started, config = time.monotonic(), settings(study, method, seed, flags)
                config.run.dir = str(run_dir := config.run_dir)
                shutil.rmtree(run_dir, ignore_errors=True)  # of a study that was interrupted
                run_dir.mkdir(parents=True)
                write_config(config)
                engines = load_models(config, workers, num_updates(config, len(rows[0].rows)))
                engines.send_weights(0)  # the engines have those of the last run
                train(config, workers, engines, *rows, None, watchdog, threading.Event())
                result = {"task": study.task, "method": method, "name": study.name, "seed": seed, "model": model}
                result |= record(run_dir, time.monotonic() - started)
                path = study.results / f"{run_name(study, method, seed)}.json"
                path.write_text(json.dumps(result) + "\n", encoding="utf-8")
                print(
                    f"{path}: {result['after']['eval_' + result['verifier']]:.3f} in {result['seconds']} s", flush=True
                )
    finally:
        ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("counting", "grounding"), required=True)
    parser.add_argument("--methods", nargs="+", default=METHODS, help="files of examples/methods")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--name", default="", help="of a setting that flags change, for the names of its results")
    parser.add_argument("--num_rows", type=int, help="rows to train on, 16 a step; else as many as four minutes hold")
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of warm starts, rows and runs")
    study, flags = parser.parse_known_args()
    study.num_rows = study.num_rows or NUM_ROWS[study.task]
    if flags and not study.name:
        parser.error(f"{' '.join(flags)}: results with flags of their own need a --name")
    compat.install()
    study.results.mkdir(parents=True, exist_ok=True)
    wanted = [(method, seed) for seed in study.seeds for method in study.methods]
    missing = [run for run in wanted if not (study.results / f"{run_name(study, *run)}.json").exists()]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs have a result; {len(missing)} to go", flush=True)
    if missing:
        run_all(study, missing, flags)


if __name__ == "__main__":
    main()

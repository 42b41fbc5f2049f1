"""Whole training steps on this machine's engines: ours against OpenRLHF's own trainer, PEPO against uniform weights.

Every run has Ray, vLLM and DeepSpeed. Runs of the two trainers alternate, and the first step of each is left out; the
two methods alternate from step to step of one run. The model is the tiny random one, responses have their full length.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import row

STEPS = 8
QUARTER = ["--rollout.batch_size", "4", "--train.batch_size", "32", "--data.max_samples", "16"]  # four steps
TRAINERS = {"stock OpenRLHF, GRPO": ("stock", "step_total"), "ours, GRPO": ("ours", "time_step")}


def run(rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder, "model"), None)
        return _compare_trainers("step", model, rounds, []) + _compare_methods(model, rounds)


def run_large_vocabulary(rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder, "model"), 151_936)
        return _compare_trainers("step of a quarter of the batch, vocabulary of 152k", model, rounds, QUARTER)


def _compare_trainers(benchmark: str, model: Path, rounds: int, flags: list[str]) -> list[dict]:
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for round_number in range(rounds):
        for name, (side, key) in TRAINERS.items():
            run_dir = model.parent / f"{side}_{round_number}"
            steps = _train(side, model, run_dir, ["--pepo.method", "uniform", *flags])
            seconds[name] += [step[key] for step in steps[1:]]
    return [row(benchmark, name, times, seconds["stock OpenRLHF, GRPO"]) for name, times in seconds.items()]


def _compare_methods(model: Path, rounds: int) -> list[dict]:
    """Odd steps have uniform weights, even ones PEPO's; the first two are left out."""
    flags = ["--train.num_episodes", str(1 + rounds)]
    seconds = [step["time_step"] for step in _train("alternating", model, model.parent / "alternating", flags)][2:]
    uniform, pepo = seconds[::2], seconds[1::2]
    title = "step, PEPO against uniform weights"
    return [row(title, "uniform", uniform, uniform), row(title, "PEPO", pepo, uniform)]


def _model(path: Path, vocabulary: int | None) -> Path:
    from pepo_rlhf.sandbox import tiny_vlm

    if vocabulary is None:
        return tiny_vlm.build_tiny_qwen2_5_vl(path)
    import transformers

    processor = tiny_vlm.build_processor()
    config = tiny_vlm.build_config(processor.tokenizer)
    config.text_config.vocab_size = vocabulary
    tiny_vlm.save(path, transformers.Qwen2_5_VLForConditionalGeneration(config), processor)
    return path


def _train(side: str, model: Path, run_dir: Path, flags: list[str]) -> list[dict]:
    """The metrics of each step of a run."""
    data = run_dir.parent / "data"
    if not data.exists():
        command = ["-m", "pepo_rlhf.sandbox.counting", "--output", str(data), "--num_train", str(16 * STEPS)]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
    command = ["-m", "benchmarks.step_run", side, "--config", "examples/quickstart.yaml"]
    settings = {
        "actor.model_name_or_path": model,
        "data.prompt_dataset": data / "train.jsonl",
        "run.dir": run_dir,
        "ds.attn_implementation": "sdpa",
    }
    arguments = [part for flag, value in settings.items() for part in (f"--{flag}", str(value))]
    result = subprocess.run([sys.executable, *command, *arguments, *flags], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"the run {run_dir.name} failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]

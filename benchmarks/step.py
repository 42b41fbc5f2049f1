"""Whole training steps on this machine's engines: PEPO against uniform weights, and against OpenRLHF's own trainer.

Each variant is a run of its own, with Ray, vLLM and DeepSpeed; runs of the variants alternate, and the first step of
each is left out. The model is the tiny random one, responses always have their full length.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import row

STEPS = 8
VARIANTS = {
    "stock OpenRLHF, GRPO": ["stock"],
    "ours, GRPO (--pepo.method uniform)": ["ours", "--pepo.method", "uniform"],
    "ours, PEPO": ["ours", "--pepo.method", "pepo"],
}


def run(rounds: int) -> list[dict]:
    return _compare("step", rounds, None)


def run_large_vocabulary(rounds: int) -> list[dict]:
    return _compare("step at a vocabulary of 152k", rounds, 151_936)


def _compare(benchmark: str, rounds: int, vocabulary: int | None) -> list[dict]:
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder, "model"), vocabulary)
        for round_number in range(rounds):
            for name, (side, *flags) in VARIANTS.items():
                run_dir = Path(folder, f"{round_number}_{len(seconds[name])}_{side}_{'_'.join(flags)}")
                _train(side, model, run_dir, flags)
                lines = (run_dir / "metrics.jsonl").read_text().splitlines()[1:]
                key = "step_total" if side == "stock" else "time_step"
                seconds[name] += [json.loads(line)[key] for line in lines]
    rows = [row(benchmark, name, times, seconds["stock OpenRLHF, GRPO"]) for name, times in seconds.items()]
    uniform = seconds["ours, GRPO (--pepo.method uniform)"]
    return rows + [row(f"{benchmark}, PEPO against uniform", "ours, PEPO", seconds["ours, PEPO"], uniform)]


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


def _train(side: str, model: Path, run_dir: Path, flags: list[str]) -> None:
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

"""Whole training steps beside those of TRL's GRPOTrainer, which a user might take instead.

Runs take turns: TRL's, ours, and ours with --train.single_pass, with the same model, rows, rewards, batch and KL
coefficient, and one update a step. TRL is installed without its dependencies into a folder of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import step
from benchmarks.measure import row

TRL = "trl==1.16.0"
OURS = {"ours": [], "ours, single pass": ["--train.single_pass", "true"]}
# 18 layers of width 896: 164 million parameters, most of them in the decoder.
LARGE_TEXT = {"hidden_size": 896, "intermediate_size": 2688, "num_hidden_layers": 18, "num_attention_heads": 14}
LARGE_TEXT |= {"layer_types": ["full_attention"] * 18, "num_key_value_heads": 2}
LARGE_TEXT |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}}
FEW_LONG = ["--rollout.batch_size", "2", "--train.batch_size", "16", "--rollout.micro_batch_size", "8"]
FEW_LONG += ["--train.micro_batch_size", "8", "--rollout.max_new_tokens", "128", "--data.max_len", "256"]
FEW_LONG += ["--data.max_samples", "8"]


def run(rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        trl = Path(folder, "trl")
        if (problem := _install(trl)) is not None:
            print(f"peers: {TRL} cannot be installed, and is left out: {problem}", file=sys.stderr)
            return []
        cases = {
            "step of the quickstart's task": (None, None, []),
            "step of a quarter of the batch, vocabulary of 152k": (151_936, None, step.QUARTER),
            "step of 2 prompts x 8 responses of 128 tokens, 164 million parameters": (None, LARGE_TEXT, FEW_LONG),
        }
        rows = []
        for number, (title, (vocabulary, text, flags)) in enumerate(cases.items()):
            model = step.make_model(Path(folder, str(number), "model"), vocabulary, text)
            rows += _compare(title, model, trl, rounds, flags)
        return rows


def _compare(title: str, model: Path, trl: Path, rounds: int, flags: list[str]) -> list[dict]:
    seconds: dict[str, list[float]] = {name: [] for name in ("TRL", *OURS)}
    flags, cores = ["--logger.tokens_every", "0", *flags], sorted(os.sched_getaffinity(0))
    for number in range(rounds):
        out = model.parent / f"trl_{number}.json"
        command = ["-W", "ignore", "-m", "benchmarks.trl_run", str(out)]
        step.run_python(command, model, out.with_suffix(""), flags, cores, trl)
        seconds["TRL"] += json.loads(out.read_text())
        for name, more in OURS.items():
            run_dir = model.parent / f"{name}_{number}".replace(" ", "_")
            steps = step.train("ours", model, run_dir, ["--run.vision_check", "false", *flags, *more], cores)
            seconds[name] += [metrics["time_step"] for metrics in steps[1:]]
    # Steps of runs that take turns are no pairs: each is compared with TRL's median.
    peer = statistics.median(seconds["TRL"])
    return [row(title, name, times, [peer] * len(times)) for name, times in seconds.items()]


def _install(folder: Path) -> str | None:
    """Return why TRL cannot be installed into a folder; None if it was."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), TRL]
    result = subprocess.run(command, capture_output=True, text=True)
    return None if result.returncode == 0 else result.stderr.strip().splitlines()[-1]

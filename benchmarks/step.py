"""Whole training steps on this machine's engines: ours against OpenRLHF's own trainer, PEPO against uniform weights.

Every run has Ray, vLLM and DeepSpeed. The two trainers run at the same time, each on half of the cores, and swap halves
from round to round: what else the machine does slows both. The two methods alternate from step to step of one run. The
first steps of a run are left out. The model is the tiny random one, responses have their full length. On a GPU, which
two runs cannot share, the trainers take turns, with 64 responses of 512 tokens of a model of 3B shapes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measure import DEVICE, row
from benchmarks.random_model import LARGE, write_rows

STEPS = 8
QUARTER = ["--rollout.batch_size", "4", "--train.batch_size", "32", "--data.max_samples", "16"]  # four steps
TRAINERS = {"stock OpenRLHF, GRPO": ("stock", "step_total"), "ours, GRPO": ("ours", "time_step")}


def run(rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder, "model"))
        phases = {"step": ["time_step"], "experience of a step": ["time_experience"]}
        methods = _compare_turns("methods", ("uniform", "PEPO"), phases, model, rounds, [])
        return _compare_trainers("step", model, rounds, []) + methods


def run_large_vocabulary(rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder, "model"), 151_936)
        return _compare_trainers("step of a quarter of the batch, vocabulary of 152k", model, rounds, QUARTER)


def run_skipping(rounds: int) -> list[dict]:
    """Half of the groups have equal rewards, and no KL a coefficient."""
    names = ("all responses are trained on", "those without a gradient are left out")
    return _compare_turns_of_a_run("skipping", names, rounds, ["--algo.kl.init_coef", "0"])


def run_single_pass(rounds: int) -> list[dict]:
    return _compare_turns_of_a_run("passes", ("two passes", "single pass"), rounds, [])


def _compare_turns_of_a_run(side: str, names: tuple[str, str], rounds: int, flags: list[str]) -> list[dict]:
    phases = {"step": ["time_step"], "experience and update of a step": ["time_experience", "time_update"]}
    with tempfile.TemporaryDirectory() as folder:
        return _compare_turns(side, names, phases, make_model(Path(folder, "model")), rounds, flags)


def _compare_trainers(benchmark: str, model: Path, rounds: int, flags: list[str]) -> list[dict]:
    cores = sorted(os.sched_getaffinity(0))
    halves = (cores, cores) if DEVICE == "cuda" else (cores[::2], cores[1::2] or cores)
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for round_number in range(rounds):
        with ThreadPoolExecutor(1 if DEVICE == "cuda" else len(TRAINERS)) as pool:
            runs = {}
            for position, (name, (side, _)) in enumerate(TRAINERS.items()):
                run_dir, half = model.parent / f"{side}_{round_number}", halves[(position + round_number) % 2]
                runs[name] = pool.submit(train, side, model, run_dir, ["--pepo.method", "uniform", *flags], half)
        for name, (_, key) in TRAINERS.items():
            seconds[name] += [step[key] for step in runs[name].result()[1:]]
    # Steps of runs side by side are no pairs: each is compared with the other trainer's median.
    stock = statistics.median(seconds["stock OpenRLHF, GRPO"])
    return [row(benchmark, name, times, [stock] * len(times)) for name, times in seconds.items()]


def _compare_turns(
    side: str, names: tuple[str, str], phases: dict[str, list[str]], model: Path, rounds: int, flags: list[str]
) -> list[dict]:
    """Two variants that take turns from step to step of one run; its first two steps are left out."""
    flags, cores = ["--train.num_episodes", str(1 + rounds), *flags], sorted(os.sched_getaffinity(0))
    steps = train(side, model, model.parent / side, flags, cores)[2:]
    rows = []
    for phase, keys in phases.items():
        seconds = [sum(step[key] for key in keys) for step in steps]
        first, second = seconds[::2], seconds[1::2]
        title = f"{phase}, {names[1]} against {names[0]}"
        rows += [row(title, names[0], first, first), row(title, names[1], second, first)]
    return rows


def make_model(path: Path, vocabulary: int | None = None, text: dict | None = None) -> Path:
    """The model, and the rows that runs train on, beside it; text: settings of a larger decoder."""
    if DEVICE == "cuda":
        write_rows(path.parent / "data", 8 * STEPS)
        # In a process of its own, which leaves no memory of the GPU taken.
        subprocess.run([sys.executable, "-m", "benchmarks.random_model", str(path)], check=True, capture_output=True)
        return path
    rows = ["--output", str(path.parent / "data"), "--num_train", str(16 * STEPS)]
    subprocess.run([sys.executable, "-m", "pepo_rlhf.toy.counting", *rows], check=True, capture_output=True)
    from pepo_rlhf.toy import tiny_vlm

    if vocabulary is None and text is None:
        return tiny_vlm.build_tiny_qwen2_5_vl(path)
    import transformers

    processor = tiny_vlm.build_processor()
    config = tiny_vlm.build_config(processor.tokenizer)
    config.text_config.update({"vocab_size": vocabulary or config.text_config.vocab_size, **(text or {})})
    config.vision_config.out_hidden_size = config.text_config.hidden_size
    tiny_vlm.save(path, transformers.Qwen2_5_VLForConditionalGeneration(config), processor)
    return path


def run_python(
    command: list[str], model: Path, run_dir: Path, flags: list[str], cores: list[int], packages: Path | None = None
) -> None:
    """Run a trainer's command with the settings of a benchmark, on these cores and with a folder of more packages."""
    settings = {
        "actor.model_name_or_path": model,
        "data.prompt_dataset": model.parent / "data" / "train.jsonl",
        "run.dir": run_dir,
        "ds.attn_implementation": "sdpa",
    }
    settings |= LARGE if DEVICE == "cuda" else {}
    command = [*command, "--config", "examples/quickstart.yaml"]
    command += [part for flag, value in settings.items() for part in (f"--{flag}", str(value))]
    # Without bytecode each of a run's many processes compiles vLLM, transformers and Ray again.
    environment = os.environ | {"OMP_NUM_THREADS": str(len(cores)), "PYTHONDONTWRITEBYTECODE": ""}
    result = subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, *command, *flags],
        env=environment | ({"PYTHONPATH": str(packages)} if packages else {}),
        capture_output=True,
        text=True,
    )
    if result.returncode != 0:
        raise RuntimeError(f"the run {run_dir.name} failed:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")


def train(side: str, model: Path, run_dir: Path, flags: list[str], cores: list[int]) -> list[dict]:
    """The metrics of each step of a run on these cores."""
    run_python(["-m", "benchmarks.step_run", side], model, run_dir, flags, cores)
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]

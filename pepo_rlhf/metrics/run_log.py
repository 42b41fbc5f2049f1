"""The run's numbers: a line a step in metrics.jsonl, one an evaluation in evaluations.jsonl, and on the console."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pepo_rlhf.metrics.trackers import Tracker

logger = logging.getLogger(__name__)
_HISTORY = 21  # steps that advice is given on


class RunLog:
    """Append to the files of `run_dir` and print a line for each record. It is a context, which ends the trackers.

    Args:
        run_dir: the run's folder; made if it is not there.
        num_steps: steps of the whole run.
        shown: fields that the line of a step shows where a record has them.
        trackers: get every evaluation too, and every `tracker_steps`-th step.
        diagnose: findings (name to line of advice) at the newest of some records; a line is printed when its finding
            starts to hold.

    Attributes:
        constants: fields that every step has.
        evaluated_steps: steps after which there is an evaluation in the files.
    """

    def __init__(
        self,
        run_dir: Path,
        num_steps: int,
        shown: Sequence[str],
        trackers: Sequence[Tracker] = (),
        tracker_steps: int = 1,
        diagnose: Callable[[list[dict[str, Any]]], dict[str, str]] = lambda records: {},
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.num_steps, self.shown = run_dir, num_steps, shown
        self.trackers, self.tracker_steps, self.diagnose = trackers, tracker_steps, diagnose
        self.constants: dict[str, float] = {}
        self.evaluated_steps: set[int] = set()
        self._findings: dict[str, str] = {}  # that held at the last step
        self._last_records: list[dict[str, Any]] = []
        self._last_step_times: list[float] = []

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        for tracker in self.trackers:
            tracker.finish()

    def roll_back(self, global_step: int) -> None:
        """Set aside what an interrupted run wrote beyond `global_step`, which will be done again.

        Lines go to files beside theirs, token records get another suffix.
        """
        for path in (self.run_dir / "tokens").glob("step_*.parquet"):
            if int(path.stem.removeprefix("step_")) > global_step:
                path.rename(path.with_suffix(".rolled_back"))
        self._last_records = self._keep("metrics", global_step)[-_HISTORY:]
        self.evaluated_steps = {record["global_step"] for record in self._keep("evaluations", global_step)}

    def _keep(self, name: str, global_step: int) -> list[dict[str, Any]]:
        """Return the records up to `global_step`, and move the lines of the others to another file."""
        path = self.run_dir / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= global_step]
        beyond = [line for line in lines if _step_of(line) > global_step]
        if beyond:
            with (self.run_dir / f"{name}_rolled_back.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(beyond)
            rewritten = path.with_suffix(".partial")
            rewritten.write_text("".join(kept), encoding="utf-8")
            rewritten.replace(path)
            logger.info(f"{len(beyond)} lines of {name}.jsonl lie beyond step {global_step} and are set aside")
        return [json.loads(line) for line in kept]

    def write_step(self, global_step: int, metrics: dict[str, Any]) -> None:
        """Write the record of a step, print its line, and advice where there is something new to say."""
        record = {"global_step": global_step, **metrics, **self.constants}
        self._append("metrics.jsonl", record)
        if global_step % self.tracker_steps == 0:
            self._track(record)
        logger.info(self._step_line(record))
        self._last_records = [*self._last_records, record][-_HISTORY:]
        findings = self.diagnose(self._last_records)
        for name in findings.keys() - self._findings.keys():
            logger.info(f"advice after step {global_step}: {findings[name]}")
        self._findings = findings

    def write_evaluation(self, global_step: int, metrics: dict[str, float]) -> None:
        """Write the record of an evaluation and print a line for each score that has an interval."""
        self.evaluated_steps.add(global_step)
        record = {"global_step": global_step, **metrics}
        self._append("evaluations.jsonl", record)
        self._track(record)
        for name in (name for name in metrics if f"{name}_low" in metrics):
            logger.info(
                f"evaluation after step {global_step}: {name.removeprefix('eval_')} {metrics[name]:.3f} (95% interval "
                f"{metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
            )

    def _append(self, name: str, record: dict[str, Any]) -> None:
        with (self.run_dir / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _track(self, record: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(record, step=record["global_step"])

    def _step_line(self, record: dict[str, Any]) -> str:
        step = record["global_step"]
        parts = [f"{name} {record[name]:.3f}" for name in dict.fromkeys(self.shown) if name in record]
        parts += [f"{record['time_step']:.1f} s", self._time_left(step)]
        return f"step {step} of {self.num_steps}: " + ", ".join(parts)

    def _time_left(self, step: int) -> str:
        self._last_step_times = [*self._last_step_times[-10:], time.monotonic()]
        if len(self._last_step_times) == 1:
            return "time left not known yet"
        elapsed = self._last_step_times[-1] - self._last_step_times[0]
        seconds = elapsed / (len(self._last_step_times) - 1) * (self.num_steps - step)
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s left"


def _step_of(line: str) -> float:
    """Return the step of a record; infinity for a line that a kill cut short."""
    return json.loads(line)["global_step"] if line.endswith("}\n") else math.inf

"""When a run writes a checkpoint, and what of the controller it holds."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints.states import load_trainer_states
from pepo_rlhf.config import Config

logger = logging.getLogger(__name__)
_RARELY = 20  # times what a checkpoint takes lie at least between two that are written by time


class Checkpoints:
    """Write checkpoints of a run, and read the one that it goes on from.

    Args:
        num_bytes: of a checkpoint, as far as they are known before the first is written.

    Attributes:
        saved: the controller's states in the checkpoint that the run goes on from; empty for a run that begins.
        best_metric, best_value: evaluation metric that the best checkpoint is chosen by, and its highest value.
    """

    def __init__(self, config: Config, policy: RayActorGroup, resume_from: Path | None, num_bytes: int) -> None:
        self.config, self.policy, self._num_bytes = config, policy, num_bytes
        self._saved_at, self._seconds = time.monotonic(), 0.0  # end of the last one, and what it took
        self.saved: dict[str, Any] = {} if resume_from is None else load_trainer_states(resume_from)
        self.best_metric: str = self.saved.get("best_eval_metric_key") or config.ckpt.best_metric_key
        self.best_value: float = self.saved.get("best_eval_metric_value", float("-inf"))

    def is_due(self, step: int) -> bool:
        """Return whether --ckpt.save_steps or --ckpt.save_minutes asks for a checkpoint after this step.

        One that the time asks for must find room on the disk, which older checkpoints make way for.
        """
        settings = self.config.ckpt
        if settings.save_steps > 0 and step % settings.save_steps == 0:
            return True
        if settings.save_minutes == -1 or settings.disable_ds:  # nothing that a run could go on from would be written
            return False
        pause = max(60 * settings.save_minutes, _RARELY * self._seconds)
        return time.monotonic() - self._saved_at >= pause and self.make_room()

    def make_room(self) -> bool:
        """Return whether a checkpoint fits on the disk, if need be after all but the newest have been removed."""
        newest = folders.newest_complete(self.config.checkpoints_dir, with_content=False)
        if newest is not None:
            self._num_bytes = folders.size_of(newest)
            if shutil.disk_usage(self.config.run_dir).free < self._num_bytes:
                folders.remove_older_than(newest)
        free = shutil.disk_usage(self.config.run_dir).free
        if free >= self._num_bytes:
            return True
        logger.warning(
            f"no checkpoint is written, since one takes {self._num_bytes / 1e9:.1f} GB and --run.dir has "
            f"{free / 1e9:.1f} GB free: make room, or turn them off with --ckpt.save_minutes -1"
        )
        self._saved_at = time.monotonic()  # the next warning comes when the next one is due
        return False

    def save(self, step: int, states: dict[str, Any], name: str = "global_step") -> None:
        """Write <checkpoints_dir>/<name><step>.

        Args:
            states: of the controller, of plain types.
        """
        started = time.monotonic()
        best = {"best_eval_metric_key": self.best_metric, "best_eval_metric_value": self.best_value}
        ray.get(self.policy.async_run_method("save_checkpoint", f"{name}{step}", {**states, **best}))
        self._saved_at = time.monotonic()
        self._seconds = self._saved_at - started

    def save_if_best(self, step: int, metrics: dict[str, float], states: dict[str, Any]) -> None:
        """Write a best checkpoint if the chosen metric of an evaluation is higher than ever before.

        The metric is --ckpt.best_metric_key, by default the first that ends in _pass1; "none" keeps no best checkpoint.
        """
        if not self.best_metric:
            self.best_metric = next((name for name in sorted(metrics) if name.endswith("_pass1")), "")
        value = metrics.get(self.best_metric)
        if self.best_metric == "none" or value is None or value <= self.best_value:
            return
        self.best_value = value
        self.save(step, states, name="best_global_step")
        logger.info(f"best checkpoint so far: {self.best_metric} {value:.4f} after step {step}")

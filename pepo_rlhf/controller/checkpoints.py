"""When a run writes a checkpoint, and what of the controller it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup

from pepo_rlhf.checkpoints.states import load_trainer_states
from pepo_rlhf.config import Config


class Checkpoints:
    """Write checkpoints of a run, and read the one that it goes on from.

    Attributes:
        saved: the controller's states in the checkpoint that the run goes on from; empty for a run that begins.
        best_metric, best_value: evaluation metric that the best checkpoint is chosen by, and its highest value.
    """

    def __init__(self, config: Config, policy: RayActorGroup, resume_from: Path | None) -> None:
        self.config, self.policy = config, policy
        self.saved: dict[str, Any] = {} if resume_from is None else load_trainer_states(resume_from)
        self.best_metric: str = self.saved.get("best_eval_metric_key") or config.ckpt.best_metric_key
        self.best_value: float = self.saved.get("best_eval_metric_value", float("-inf"))

    def is_due(self, step: int) -> bool:
        """Return whether --ckpt.save_steps asks for a checkpoint after this step."""
        every = self.config.ckpt.save_steps
        return every > 0 and step % every == 0

    def save(self, step: int, states: dict[str, Any], name: str = "global_step") -> None:
        """Write <checkpoints_dir>/<name><step>.

        Args:
            states: of the controller, of plain types.
        """
        best = {"best_eval_metric_key": self.best_metric, "best_eval_metric_value": self.best_value}
        ray.get(self.policy.async_run_method("save_checkpoint", f"{name}{step}", {**states, **best}))

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
        print(f"best checkpoint so far: {self.best_metric} {value:.4f} after step {step}", flush=True)

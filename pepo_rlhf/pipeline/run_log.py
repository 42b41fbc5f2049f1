"""The run's numbers: metrics.jsonl, one object a step, and a line to look at while it runs."""

from __future__ import annotations

import json
import numbers
from pathlib import Path

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


class RunLog:
    """Appends to `<run_dir>/metrics.jsonl`."""

    def __init__(self, run_dir: str, max_steps: int | None = None) -> None:
        self.path = Path(run_dir) / "metrics.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, global_step: int, status: dict) -> dict:
        """Writes one step and returns the record. Upstream's duplicate of a renamed number is left out."""
        record: dict = {"global_step": global_step}
        for name, value in status.items():
            if isinstance(value, numbers.Real):
                record.setdefault(_NAMES.get(name, name), value)
        record |= {ours: status[theirs] for theirs, ours in _NAMES.items() if theirs in status}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record

"""The trainer: upstream's loop over batches, with token metrics and a metrics file."""

from __future__ import annotations

import ray
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer

from pepo_rlhf.pipeline import wiring
from pepo_rlhf.pipeline.run_log import RunLog


class TokenMetricsMixin(BasePPOTrainer):
    """What the synchronous and the asynchronous trainer add to upstream's common base."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)
        self.run_log = RunLog(self.args.run.dir)

    def train_step(self, rollout_samples, global_step: int) -> tuple[dict, int]:
        """One step: experience, update, sync. Upstream's status plus the experience maker's token metrics."""
        status, global_step = super().train_step(rollout_samples, global_step)
        return status | self.experience_maker.metrics, global_step

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Writes the metrics file before upstream's trackers and checkpoints."""
        record = self.run_log.write(global_step, logs_dict or {})
        print(
            f"step {global_step}: "
            + ", ".join(f"{name} {record[name]:.3f}" for name in ("reward", "accuracy", "entropy") if name in record)
            + f", {record['time_step']:.1f} s",
            flush=True,
        )
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)


class PepoTrainer(TokenMetricsMixin, PPOTrainer.__ray_metadata__.modified_class):
    """The synchronous trainer: one batch at a time, every engine on the newest weights."""

    def init_checkpoint_states(self) -> dict:
        """On resume, tells the samples generator how far into the run it is: seeds and progress depend on it."""
        states = super().init_checkpoint_states()
        self.samples_generator.num_prompts_drawn = states["total_consumed_prompts"]
        return states


TrainerActor = ray.remote(PepoTrainer)

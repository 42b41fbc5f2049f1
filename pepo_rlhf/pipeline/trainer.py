"""The trainer: upstream's loop over batches, with token metrics, a run folder and evaluation at both ends."""

from __future__ import annotations

from functools import partial

import ray
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer

from pepo_rlhf.pipeline import blindness, wiring
from pepo_rlhf.pipeline.diagnosis import diagnose
from pepo_rlhf.pipeline.run_log import RunLog
from pepo_rlhf.pipeline.trackers import start_trackers


class RunLogMixin(BasePPOTrainer):
    """What the synchronous and the asynchronous trainer add to upstream's common base."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)
        trackers, findings = start_trackers(self.args), partial(diagnose, args=self.args)
        self.run_log = RunLog(self.args.run.dir, trackers, diagnose=findings)

    def find_blindness(self, prompts: list[tuple[str, list]]) -> str | None:
        """The blindness gate; None where it is passed, switched off, or a run goes on that it has let through."""
        if not self.args.pepo.blindness_check or self.init_checkpoint_states()["global_step"] > 0:
            return None
        return blindness.gate(self.args, self.actor_model_group, self.vllm_engines, prompts, self.tokenizer)

    def train_step(self, rollout_samples, global_step: int) -> tuple[dict, int]:
        """One step: experience, update, sync. Upstream's status plus the experience maker's token metrics."""
        self.experience_maker.step = global_step + 1
        status, global_step = super().train_step(rollout_samples, global_step)
        self.experience_maker.token_recorder.finish()
        return status | self.experience_maker.metrics, global_step

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Writes the metrics file before upstream's trackers and checkpoints."""
        self.run_log.write_step(global_step, logs_dict or {})
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)


class PepoTrainer(RunLogMixin, PPOTrainer.__ray_metadata__.modified_class):
    """The synchronous trainer: one batch at a time, every engine on the newest weights."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        num_prompts = len(self.prompts_dataloader) * self.args.train.num_episodes
        self.run_log.num_steps = num_prompts // self.args.rollout.batch_size

    def init_checkpoint_states(self) -> dict:
        """On resume, tells the samples generator how far into the run it is: seeds and progress depend on it."""
        states = super().init_checkpoint_states()
        self.samples_generator.num_prompts_drawn = states["total_consumed_prompts"]
        return states

    def check_sight(self) -> str | None:
        """`find_blindness` on the first prompts."""
        return self.find_blindness(blindness.choose_prompts(self.prompts_dataloader.dataset))

    def fit(self, global_step: int = 0) -> None:
        """Trains; with an evaluation dataset, evaluates before the first step and after the last one."""
        if self.eval_dataloader is not None:
            self._evaluate(global_step)
        super().fit(global_step)
        if self.eval_dataloader is not None:
            self._evaluate(self.run_log.num_steps)
        self.run_log.close()

    def _evaluate(self, global_step: int) -> None:
        sampling = {
            "temperature": self.args.eval.temperature,
            "n_samples_per_prompt": self.args.eval.n_samples_per_prompt,
        }
        self.evaluate(global_step, **(self.generate_kwargs | sampling))

    def evaluate(self, global_step: int, **generate_kwargs) -> dict[str, float]:
        """Upstream's evaluation, also written to the run folder."""
        metrics = super().evaluate(global_step, **generate_kwargs)
        self.run_log.write_evaluation(global_step, metrics)
        return metrics


TrainerActor = ray.remote(PepoTrainer)

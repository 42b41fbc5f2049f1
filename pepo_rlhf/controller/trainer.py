"""The trainer: upstream's loop over batches, with token metrics, a run folder and evaluation at both ends."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import ray
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer

from pepo_rlhf.checkpoints.states import load_trainer_states
from pepo_rlhf.compat import wiring
from pepo_rlhf.controller import vision_check
from pepo_rlhf.controller.prompt_count import PromptCount
from pepo_rlhf.data.prompt import choose_prompts
from pepo_rlhf.metrics.advice import diagnose
from pepo_rlhf.metrics.run_log import RunLog
from pepo_rlhf.metrics.trackers import start_trackers


class Stopped(RuntimeError):
    """The run was asked to stop, and did."""


class RunLogMixin(BasePPOTrainer):
    """What the synchronous and the asynchronous trainer add to upstream's common base."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)
        trackers, findings = start_trackers(self.args), partial(diagnose, config=self.args)
        self.run_log = RunLog(self.args.run.dir, trackers, diagnose=findings)
        checkpoint = self.args.ckpt.resume_from
        self._saved_states = load_trainer_states(Path(checkpoint)) if checkpoint is not None else None
        self.run_log.roll_back(self._saved_states["global_step"] if self._saved_states else 0)
        if self._saved_states is not None:
            self.experience_maker.prompt_count = PromptCount(self._saved_states["prompt_count"])
        self._stop_requested = threading.Event()
        self._phase = "start of training"

    def find_blindness(self, prompts: list[tuple[str, list]]) -> str | None:
        """The blindness gate; None where it is passed, switched off, or a run goes on that it has let through."""
        if not self.args.pepo.blindness_check or self.init_checkpoint_states()["global_step"] > 0:
            return None
        return vision_check.gate(self.args, self.actor_model_group, self.vllm_engines, prompts, self.tokenizer)

    def current_phase(self) -> str:
        """What `fit` is doing, for the watchdog. Called while it runs."""
        return self._phase

    def _enter(self, phase: str, global_step: int) -> None:
        self._phase = f"{phase}, step {global_step + 1}"

    def request_stop(self) -> None:
        """Lets the run end after the step that it is in, with a checkpoint. Called while `fit` runs."""
        self._stop_requested.set()

    def init_checkpoint_states(self) -> dict:
        """The trainer's states of the checkpoint to resume from, or those that a run begins with."""
        return self._saved_states or super().init_checkpoint_states()

    def train_step(self, rollout_samples, global_step: int) -> tuple[dict, int]:
        """One step: experience, update, sync. Upstream's status plus the experience maker's token metrics."""
        self._enter("experience", global_step)
        self.experience_maker.step = global_step + 1
        status, global_step = super().train_step(rollout_samples, global_step)
        self.experience_maker.token_recorder.finish()
        return status | self.experience_maker.metrics, global_step

    def ppo_train(self, global_steps: int) -> dict:
        """Upstream's update, named for the watchdog."""
        self._enter("update", global_steps)
        status = super().ppo_train(global_steps)
        self._enter("weight sync", global_steps)
        return status

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        """Writes the metrics file before upstream's trackers and checkpoints.

        Raises:
            Stopped: after the checkpoint, if the run was asked to stop.
        """
        self._enter("checkpoint", global_step - 1)
        self.run_log.write_step(global_step, logs_dict or {})
        stopping = self._stop_requested.is_set()
        if stopping:
            self.args.ckpt.save_steps = 1  # a checkpoint is due after any step
        client_states = {} if client_states is None else client_states
        client_states["prompt_count"] = self.experience_maker.prompt_count.state  # for the best checkpoint, too
        super().save_logs_and_checkpoints(global_step, logs_dict, client_states)
        if stopping:
            self.run_log.close()
            self.tensorboard_logger.close()
            raise Stopped(f"after step {global_step}")
        self._enter("generation", global_step)


class PepoTrainer(RunLogMixin, PPOTrainer.__ray_metadata__.modified_class):
    """The synchronous trainer: one batch at a time, every engine on the newest weights."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        num_prompts = len(self.prompts_dataloader) * self.args.train.num_episodes
        self.run_log.num_steps = num_prompts // self.args.rollout.batch_size
        self.samples_generator.engine_recovery.policy = self.actor_model_group

    def broadcast_to_vllm(self) -> None:
        """Upstream's sync, until it has reached engines that are all alive."""
        self.samples_generator.engine_recovery.send_weights(super().broadcast_to_vllm)

    def init_checkpoint_states(self) -> dict:
        """On resume, tells the samples generator how far into the run it is: seeds and progress depend on it."""
        states = super().init_checkpoint_states()
        self.samples_generator.num_prompts_drawn = states["total_consumed_prompts"]
        return states

    def check_blindness(self) -> str | None:
        """`find_blindness` on the first prompts."""
        return self.find_blindness(choose_prompts(self.prompts_dataloader.dataset.items))

    def fit(self, global_step: int = 0) -> None:
        """Trains; with an evaluation dataset, evaluates before the first step and after the last one."""
        self._evaluate_once(global_step)
        super().fit(global_step)
        self._evaluate_once(self.run_log.num_steps)
        self.run_log.close()

    def _evaluate_once(self, global_step: int) -> None:
        if self.eval_dataloader is None or global_step in self.run_log.evaluated_steps:
            return
        sampling = {
            "temperature": self.args.eval.temperature,
            "n_samples_per_prompt": self.args.eval.n_samples_per_prompt,
        }
        self.evaluate(global_step, **(self.generate_kwargs | sampling))

    def evaluate(self, global_step: int, **generate_kwargs) -> dict[str, float]:
        """Upstream's evaluation, also written to the run folder."""
        self._enter("evaluation", global_step - 1)
        metrics = super().evaluate(global_step, **generate_kwargs)
        self.run_log.write_evaluation(global_step, metrics)
        self._enter("generation", global_step)
        return metrics


TrainerActor = ray.remote(PepoTrainer).options(max_concurrency=2)  # fit, and what is called beside it

"""The asynchronous trainer: generation runs ahead of training by a bounded number of batches."""

from __future__ import annotations

import ray
from openrlhf.trainer import ppo_trainer_async as upstream

from pepo_rlhf.compat import wiring
from pepo_rlhf.controller.trainer import RunLogMixin
from pepo_rlhf.data.prompt import choose_prompts


class AsyncGenerator(upstream.GenerateSamplesActor.__ray_metadata__.modified_class):
    """Upstream's generating process."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)

    def first_prompts(self) -> list[tuple[str, list]]:
        """For the blindness gate."""
        return choose_prompts(self.prompts_dataloader.dataset.items)

    def set_policy(self, policy) -> None:
        """Whose weights an engine takes that is restarted while it generates."""
        self.samples_generator.engine_recovery.policy = policy

    def fit(self, episode: int, total_consumed_prompts: int) -> None:
        """On resume, tells the samples generator how far into the run it is: seeds and progress depend on it."""
        self.samples_generator.num_prompts_drawn = total_consumed_prompts
        super().fit(episode, total_consumed_prompts)


class AsyncTraining(RunLogMixin, upstream.TrainingActor.__ray_metadata__.modified_class):
    """Upstream's training process."""

    def save_best_checkpoint(self, eval_metrics, global_step, client_states=None) -> None:
        """Upstream comes here after every evaluation, which the generating process has made."""
        self.run_log.write_evaluation(global_step, eval_metrics)
        super().save_best_checkpoint(eval_metrics, global_step, client_states)

    def fit(self, global_step: int = 0) -> None:
        """Upstream's, and the end of the trackers' runs."""
        super().fit(global_step)
        self.run_log.close()


class PepoTrainerAsync(upstream.PPOTrainerAsync.__ray_metadata__.modified_class):
    """Starts and joins the two."""

    def __init__(self, pretrain, strategy, actor_model_group, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(pretrain, strategy, actor_model_group, *args, **kwargs)
        ray.get(self.generator_actor.set_policy.remote(actor_model_group))

    def request_stop(self) -> None:
        """Lets the run end after the step that it is in, with a checkpoint. Called while `fit` runs."""
        ray.get(self.trainer_actor.request_stop.remote())

    def current_phase(self) -> str:
        """What the training process is doing; in generation it waits for the other one."""
        return ray.get(self.trainer_actor.current_phase.remote())

    def check_blindness(self) -> str | None:
        """The blindness gate, on prompts of the one and by the workers of the other."""
        prompts = ray.get(self.generator_actor.first_prompts.remote())
        return ray.get(self.trainer_actor.find_blindness.remote(prompts))


GenerateActor = ray.remote(AsyncGenerator)
TrainingActor = ray.remote(AsyncTraining).options(max_concurrency=2)  # fit, and what is called beside it
AsyncTrainerActor = ray.remote(PepoTrainerAsync).options(max_concurrency=2)

"""The training loop: one step from prompts to checkpoint, from top to bottom in `Trainer.fit`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.controller.batch_metrics import response_metrics, token_metrics
from pepo_rlhf.controller.checkpoints import Checkpoints
from pepo_rlhf.controller.experience_maker import PepoExperienceMaker
from pepo_rlhf.controller.prompt_count import PromptCount
from pepo_rlhf.controller.prompts import Prompt, PromptSchedule
from pepo_rlhf.controller.rollouts import Generation, Rollouts
from pepo_rlhf.controller.scoring import add_scores, split_rows, take_scores
from pepo_rlhf.controller.stop_request import StopRequest
from pepo_rlhf.controller.token_recorder import TokenRecorder
from pepo_rlhf.controller.updates import plan_updates, update_metrics
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.evaluation.metrics import training_metrics
from pepo_rlhf.metrics.run_log import RunLog
from pepo_rlhf.workers.policy_trainer import Weighing


class Stopped(RuntimeError):
    """The run was asked to stop, and did after a checkpoint."""


class Trainer:
    """Train the policy over the prompts of a schedule.

    Args:
        reference: None where the policy without its adapters is the reference, or no KL is asked for.
        stop: asks the run to end after the step that it is in.

    Attributes:
        step: training steps done.
        position, refill_position: prompts that were drawn for them, as in `Generation`.
    """

    def __init__(
        self,
        config: Config,
        policy: RayActorGroup,
        reference: RayActorGroup | None,
        rollouts: Rollouts,
        schedule: PromptSchedule,
        evaluation_prompts: Sequence[Prompt],
        checkpoints: Checkpoints,
        run_log: RunLog,
        watchdog: Watchdog,
        stop: StopRequest,
    ) -> None:
        self.config, self.policy, self.reference, self.rollouts = config, policy, reference, rollouts
        self.schedule, self.evaluation_prompts, self.checkpoints = schedule, evaluation_prompts, checkpoints
        self.run_log, self.watchdog, self.stop = run_log, watchdog, stop
        self.engines = rollouts.engines
        self.engines.num_restarts = checkpoints.saved.get("engine_restarts", 0)
        self.experience_maker = PepoExperienceMaker(config, rollouts.processor)
        self.token_recorder = TokenRecorder(config, rollouts.processor, schedule.num_steps)
        self.step: int = checkpoints.saved.get("global_step", 0)
        self.position: int = checkpoints.saved.get("total_consumed_prompts", 0)
        self.refill_position: int = checkpoints.saved.get("refill_position", 0)
        self.prompt_count = PromptCount(checkpoints.saved.get("prompt_count"))
        self.times: dict[str, float] = {}  # seconds of the phases of this step
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation")

    def fit(self) -> None:
        """Run the steps that are left, with an evaluation before the first and after the last one.

        With --train.async_enable the next batch is generated while this one is trained on, so that weights are at most
        one sync old. Only this thread calls the policy: two could give its ranks different orders.

        Raises:
            Stopped: if `stop` was set; after a checkpoint, unless that was before the first step.
        """
        is_async = self.config.train.async_enable
        self._resume()
        self._evaluate_once()
        if self.stop.is_set():
            raise Stopped(f"before step {self.step + 1}")
        generation = self._complete(Generation(self.rollouts, self.schedule, self.position, self.refill_position))
        while generation is not None and generation.batch is not None:
            started, batch = time.monotonic(), generation.batch
            self.times = {"time_generation": generation.seconds}
            following = generation.following()
            ahead = self._ahead.submit(following.run_as_far_as_possible) if is_async else None

            with self._phase("experience"):
                self._make_experience(batch)
            with self._phase("update"):
                metrics = self._update(batch)
            self.step, self.position, self.refill_position = (
                self.step + 1,
                generation.position,
                generation.refill_position,
            )
            if ahead is not None:
                generation = self._wait_for(ahead, following)
            with self._phase("sync"):
                self.engines.send_weights(self.step)

            self.token_recorder.finish()
            self.times["time_step"] = time.monotonic() - started if is_async else sum(self.times.values())
            self.run_log.write_step(self.step, {**metrics, **self._metrics(batch), **self.times})
            self._save_and_evaluate()
            if ahead is None:
                generation = self._complete(following)
        self._evaluate_once()

    def _resume(self) -> None:
        """Give the engines the checkpoint's weights; do nothing in a run that begins."""
        if self.step:
            self.schedule.require_identity(self.checkpoints.saved.get("prompts", self.schedule.identity))
            with self._phase("sync"):
                self.engines.send_weights(self.step)

    def _complete(self, generation: Generation) -> Generation | None:
        """Run a generation to its end, or the next one where an episode ends without a batch; None at the run's end."""
        while True:
            self._enter("generation")
            if not generation.is_done:
                with self.engines.awake():
                    self.engines.insist(generation.run, self.step)
            if generation.batch is not None:
                return generation
            if generation.position >= self.schedule.num_total:
                return None
            generation = generation.following()

    def _wait_for(self, ahead: Future[None], following: Generation) -> Generation | None:
        """Return the next batch's generation, complete before the sync; what a dead engine lost is asked again."""
        self._enter("generation")
        ahead.result()
        return self._complete(following)

    def _make_experience(self, batch: Batch) -> None:
        """Add scores and advantages to the batch; with --train.single_pass, those that need no scores of the policy."""
        signals = self._signals()
        add_scores(batch, split_rows(batch, self.config), self.policy, self.reference, self.config, signals)
        self.experience_maker.compare_groups(batch)
        if not self.config.train.single_pass:
            self._weigh(batch)

    def _update(self, batch: Batch) -> dict[str, float]:
        """Train the policy on the batch and return what the updates measured."""
        is_single, coefficient = self.config.train.single_pass, self._schedule_coefficient(batch)
        weighing = Weighing(self._signals(), coefficient) if is_single else None
        plans = plan_updates(batch, self.config, self.step + 1, weighing)
        if self.config.ds.enable_sleep:
            ray.get(self.policy.async_run_method("reload_states"))
        pending = self.policy.async_run_method_batch("train", updates=[plan.updates for plan in plans])
        metrics, scores = zip(*chain.from_iterable(ray.get(pending)), strict=True)
        if self.config.ds.enable_sleep:
            ray.get(self.policy.async_run_method("offload_states"))
        if is_single:
            take_scores(batch, list(chain.from_iterable(plan.rows for plan in plans)), list(chain(*scores)))
            self._weigh(batch)
        return {**metrics[0], **update_metrics(plans)}

    def _weigh(self, batch: Batch) -> None:
        """Add token weights and advantages to a scored batch, and record it if that is due."""
        self.experience_maker.weigh_tokens(batch, self._progress(batch))
        if self.token_recorder.is_due(self.step + 1):
            self.token_recorder.record(self.step + 1, batch, self._schedule_coefficient(batch))

    def _signals(self) -> list[str]:
        """Return the names of the signals that the policy computes in this step."""
        needed = {*self.experience_maker.weighting.policy_signals}
        if self.token_recorder.is_due(self.step + 1):
            # Records hold the similarity in any case; signals of a second pass only where the weighting pays for it.
            needed.add("visual_similarity")
        return sorted(needed)

    def _schedule_coefficient(self, batch: Batch) -> float:
        return self.experience_maker.schedule_coefficient(self._progress(batch))

    def _progress(self, batch: Batch) -> float:
        """Return the prompts consumed before a batch as a share of the whole run's."""
        return batch.draw.position / self.schedule.num_total

    def _metrics(self, batch: Batch) -> dict[str, float]:
        rows = [prompt.row for prompt in batch.prompts[:: batch.num_samples]]
        draw, size = batch.draw, self.config.rollout.batch_size
        num_dropped = draw.num_zero_std_dropped + draw.num_surplus
        counts = self.prompt_count.add(draw.episode, rows, num_dropped - draw.num_refilled, draw.num_drawn_in_episode)
        metrics = {"progress": self._progress(batch), **response_metrics(batch, self.config), **token_metrics(batch)}
        if self.config.algo.dynamic_filtering_enable:
            metrics["dynamic_filtering_pass_rate"] = 100 * size / (size + num_dropped)
        # The policy had been trained for one step less when this batch's update began.
        metrics["weights_age"] = self.step - 1 - metrics["weights_version"]
        return metrics | counts | {"engine_restarts": self.engines.num_restarts}

    def _save_and_evaluate(self) -> None:
        """Write the checkpoints and make the evaluation that are due after a step.

        Raises:
            Stopped: if the run was asked to stop; after a checkpoint, unless the disk has no room for one.
        """
        states = {
            "global_step": self.step,
            "total_consumed_prompts": self.position,
            "refill_position": self.refill_position,
            "prompt_count": self.prompt_count.state,
            "prompts": self.schedule.identity,
            "engine_restarts": self.engines.num_restarts,
        }
        stopping = self.stop.is_set()
        self._enter("checkpoint")
        if self.checkpoints.make_room() if stopping else self.checkpoints.is_due(self.step):
            self.checkpoints.save(self.step, states)
        if stopping:
            raise Stopped(f"after step {self.step}")
        if self.config.eval.steps > 0 and self.step % self.config.eval.steps == 0:
            self.checkpoints.save_if_best(self.step, self._evaluate(), states)

    def _evaluate_once(self) -> None:
        if self.evaluation_prompts and self.step not in self.run_log.evaluated_steps:
            self._evaluate()

    def _evaluate(self) -> dict[str, float]:
        """Sample the evaluation prompts with the present weights and write the metrics of the responses."""
        self._enter("evaluation")
        samples = self.rollouts.evaluate(self.evaluation_prompts)
        metrics = training_metrics(samples, self.config.eval.n_samples_per_prompt)
        self.run_log.write_evaluation(self.step, metrics)
        return metrics

    def _enter(self, phase: str) -> None:
        """Name what the run does now, for the watchdog."""
        self.watchdog.enter(f"{phase}, step {self.step + 1}")

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Name a phase for the watchdog and take its time."""
        self._enter(name)
        started = time.monotonic()
        yield
        self.times[f"time_{name}"] = time.monotonic() - started

"""Rollouts: prompts to the engines, and batches of sampled and graded responses back, in the order of the prompts.

Each response has a seed of its own, made from the run's seed, its prompt's position in the run and its number, so that
a batch depends neither on the number of engines nor on what they have generated before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from vllm import SamplingParams

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch, Draw, make_batch
from pepo_rlhf.controller.engines import EngineDied, Engines
from pepo_rlhf.controller.grader_errors import GraderErrors
from pepo_rlhf.controller.prompts import Prompt, PromptSchedule
from pepo_rlhf.core.signals import describe
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.data.perturbations import Perturbation
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.evaluation.metrics import EvaluatedSample
from pepo_rlhf.workers.image_tensors import share_image_tensors
from pepo_rlhf.workers.responses import Group

logger = logging.getLogger(__name__)
_SAMPLE_SEED_BITS = 20  # room for the sample's number below a prompt's seed


class Rollouts:
    """Samples and grades responses.

    Args:
        processor: of the model, for the tokens that must not be sampled.
    """

    def __init__(self, config: Config, engines: Engines, processor: Any) -> None:
        self.config, self.engines, self.processor = config, engines, processor
        signals = load_weighting(config.pepo.method, config.pepo.settings).policy_signals
        self.perturbs_images = any(describe(name).perturbs_images for name in signals)

    def ask(self, prompts: Sequence[Prompt], first: int, groups: dict[int, Group]) -> None:
        """Sample a group for each training prompt that `groups` does not hold yet, and add it there.

        Args:
            first: position of the first prompt in the run, which the seeds depend on.
            groups: by the prompt's place in `prompts`; keeps what has been answered when an engine dies.

        Raises:
            EngineDied: if an engine died; all other answers have been added.
        """
        rollout = self.config.rollout
        self._ask(prompts, first, groups, rollout.temperature, rollout.n_samples_per_prompt, self.perturbs_images)

    def evaluate(self, prompts: Sequence[Prompt]) -> list[EvaluatedSample]:
        """Return the responses to evaluation prompts, sampled with the settings of --eval in batches of a step's size.

        Raises:
            GraderError: if too many responses of a batch could not be graded.
        """
        settings, size = self.config.eval, self.config.rollout.batch_size
        answered: list[Group] = []
        with self.engines.awake():
            for start in range(0, len(prompts), size):
                part, groups = prompts[start : start + size], dict[int, Group]()
                ask = partial(self._ask, part, start, groups, settings.temperature, settings.n_samples_per_prompt)
                self.engines.insist(ask, self.engines.weights_version)
                answered += [groups[index] for index in range(len(part))]
                GraderErrors(self.config.reward.max_error_rate).count(answered[start:])
        return [
            EvaluatedSample(
                datasource=prompt.datasource,
                reward=response.reward,
                components=response.components,
                response_length=len(response.token_ids),
                truncated=response.truncated,
            )
            for prompt, group in zip(prompts, answered, strict=True)
            for response in group.responses
        ]

    def _ask(
        self,
        prompts: Sequence[Prompt],
        first: int,
        groups: dict[int, Group],
        temperature: float,
        num_samples: int,
        perturbs_images: bool = False,
    ) -> None:
        def call(index: int) -> Any:
            prompt, params = prompts[index], self._sampling_params(first + index, temperature)
            return self.engines.of_prompt(index).generate_group.remote(
                prompt=prompt.text,
                label=prompt.label,
                images=list(prompt.images),
                sampling_params=params,
                max_length=self.config.data.max_len,
                num_samples=num_samples,
                perturbation=self._perturbation(prompts, index, params.seed or 0) if perturbs_images else None,
            )

        answers: dict[int, Group] = {}
        try:
            self.engines.collect(call, [index for index in range(len(prompts)) if index not in groups], answers)
        finally:
            groups |= {index: share_image_tensors(group) for index, group in answers.items()}

    def _perturbation(self, prompts: Sequence[Prompt], index: int, seed: int) -> Perturbation:
        """Return what the policy sees in place of a prompt's images: `swapped` takes the next other ones in turn."""
        pepo, images = self.config.pepo, prompts[index].images
        following = (prompt.images for prompt in (*prompts[index + 1 :], *prompts[:index]))
        others = next((other for other in following if other and other != images), images)
        return Perturbation(
            pepo.perturbation, pepo.perturbation_ratio, others if pepo.perturbation == "swapped" else (), seed
        )

    def _sampling_params(self, position: int, temperature: float) -> SamplingParams:
        entropy = np.random.SeedSequence([self.config.train.seed, position]).generate_state(1, dtype=np.uint64)[0]
        return SamplingParams(
            temperature=temperature,
            top_p=self.config.rollout.top_p,
            top_k=self.config.rollout.top_k,
            max_tokens=self.config.rollout.max_new_tokens,
            min_tokens=1,
            logprobs=0,  # of the sampled token alone; always asked for, since rollout_trainer_gap needs them
            skip_special_tokens=False,
            logit_bias=forbidden_tokens(self.processor),
            seed=int(entropy) >> (_SAMPLE_SEED_BITS + 1) << _SAMPLE_SEED_BITS,
        )


class Generation:
    """The generation of one training batch: rounds of prompts until it has enough groups, or the episode ends.

    Dynamic filtering drops groups whose rewards are all equal, since they carry no gradient, and draws other prompts
    for them: the next of the episode, or, with --algo.dynamic_filtering_refill cycle, whole batches of an endless order
    of their own. After --algo.dynamic_filtering_max_resamples rounds, dropped groups fill the batch up.

    Attributes:
        position: prompts of the run that have been drawn, this generation's included.
        refill_position: prompts of the endless order that have been drawn, likewise.
        is_done: whether it has ended; batch: the batch, or None where the rest of the episode does not make one.
        seconds: time that it has taken.
    """

    def __init__(self, rollouts: Rollouts, schedule: PromptSchedule, position: int, refill_position: int = 0) -> None:
        self.position, self._start = position, position
        self.refill_position, self._refill_start = refill_position, refill_position
        self.batch: Batch | None = None
        self.is_done, self.seconds = position >= schedule.num_total, 0.0
        self._rollouts, self._schedule, self._config = rollouts, schedule, rollouts.config
        self._episode = position // schedule.num_per_episode
        self._errors = GraderErrors(self._config.reward.max_error_rate)
        self._accepted: list[tuple[Prompt, Group]] = []
        self._zero_std: list[tuple[Prompt, Group]] = []
        self._num_rounds = 0
        self._prompts: list[Prompt] = []  # of the round that is being answered
        self._first = 0  # what the seeds of the round are made of
        self._groups: dict[int, Group] = {}

    def following(self) -> Generation:
        """Return the generation of the batch after this one."""
        return Generation(self._rollouts, self._schedule, self.position, self.refill_position)

    def run(self) -> None:
        """Ask rounds of prompts until the batch is there; do nothing if it is.

        Raises:
            EngineDied: if an engine died. What has been answered is kept, and another call goes on from there.
            GraderError: if too many responses could not be graded.
        """
        started = time.monotonic()
        try:
            while not self.is_done:
                self._run_round()
        finally:
            self.seconds += time.monotonic() - started

    def run_as_far_as_possible(self) -> None:
        """Run until the batch is there or an engine dies: in a thread of its own, nobody can send it new weights."""
        with suppress(EngineDied):
            self.run()

    def _run_round(self) -> None:
        size = self._config.rollout.batch_size
        wanted = size - len(self._accepted)
        if not self._prompts:
            self._draw(wanted)
        is_exhausted = len(self._prompts) < wanted
        self._rollouts.ask(self._prompts, self._first, self._groups)
        self._sort_round()
        self._num_rounds += 1
        is_last = self._num_rounds > self._config.algo.dynamic_filtering_max_resamples
        if len(self._accepted) >= size or is_exhausted or is_last:
            self.batch, self.is_done = self._make_batch(size), True

    def _draw(self, wanted: int) -> None:
        if self._num_rounds and self._config.algo.dynamic_filtering_refill == "cycle":
            self._first = self._schedule.num_total + self.refill_position  # after the seeds of all planned prompts
            self._prompts = self._schedule.draw_refill(self.refill_position, self._config.rollout.batch_size)
            self.refill_position += len(self._prompts)
        else:
            self._first = self.position
            self._prompts = self._schedule.draw(self.position, wanted, self._episode)
            self.position += len(self._prompts)

    def _sort_round(self) -> None:
        groups = [self._groups[index] for index in range(len(self._prompts))]
        self._errors.count(groups)
        for prompt, group in zip(self._prompts, groups, strict=True):
            is_dropped = self._config.algo.dynamic_filtering_enable and has_zero_std(group)
            (self._zero_std if is_dropped else self._accepted).append((prompt, group))
        self._prompts, self._groups = [], {}

    def _make_batch(self, size: int) -> Batch | None:
        fill = self._zero_std[: max(size - len(self._accepted), 0)]
        chosen = self._accepted[:size] + fill
        if len(chosen) < size:
            if chosen:
                logger.warning(f"the data ended: {len(chosen)} groups of an incomplete batch are not trained on")
            return None
        draw = Draw(
            position=self._start,
            episode=self._episode,
            num_drawn_in_episode=self.position - self._episode * self._schedule.num_per_episode,
            num_zero_std_dropped=len(self._zero_std) - len(fill),
            num_zero_std_kept=len(fill),
            num_surplus=max(len(self._accepted) - size, 0),
            num_refilled=self.refill_position - self._refill_start,
        )
        pad_token_id = self._rollouts.processor.pad_token_id
        return make_batch([prompt for prompt, _ in chosen], [group for _, group in chosen], draw, pad_token_id)


def has_zero_std(group: Group) -> bool:
    """Return whether all rewards of a group are equal; a response without a grade does not count."""
    return len({response.reward for response in group.responses if response.grader_error is None}) < 2


def forbidden_tokens(processor: Any) -> dict[int, float] | None:
    """Return biases against image and video placeholders: the policy would take a sampled one for an image."""
    return {token_id: -100.0 for token_id in vision_token_ids(processor)} or None

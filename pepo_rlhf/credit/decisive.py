"""Reward dependence: how far each token of a response decides about its reward, by continuations on a vLLM engine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pepo_rlhf.config import Config
from pepo_rlhf.core.monte_carlo import monte_carlo_advantages
from pepo_rlhf.credit.responses import Question, ScoredResponse
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.rewards import RewardService

IMAGE_DEPENDENCE = "first target"  # its name beside the signals


class Decisive(NamedTuple):
    """How the reward dependence is measured.

    Attributes:
        num_positions: tokens of a response, drawn at random; all if it has no more.
        num_continuations: of the prefix before each, and of the one after it.
    """

    num_positions: int
    num_continuations: int


def measure_decisions(
    config: Config,
    processor: Any,
    questions: Sequence[Question],
    responses: Sequence[ScoredResponse],
    decisive: Decisive,
) -> int:
    """Add advantages and their squares to the responses.

    Returns:
        The number of responses that could not be graded, which are left out of the means.
    """
    from pepo_rlhf.evaluation.engine import Engine  # loads vLLM

    pixels = pixel_limits(processor, config.data.min_pixels, config.data.max_pixels)
    graders = _Graders(config, processor.tokenizer)
    engine = Engine(_flags(config), processor, pixels, max(len(question.pictures) for question in questions))
    try:
        for number, response in enumerate(responses):
            question, length = questions[response.question], len(response.token_ids)
            generator = np.random.default_rng([config.train.seed, number])
            positions = np.sort(generator.permutation(length)[: decisive.num_positions])
            found = monte_carlo_advantages(
                response.token_ids,
                positions.tolist(),
                decisive.num_continuations,
                partial(engine.continue_response, question.prompt, question.pictures, number),
                partial(graders.rewards, question.label),
            )
            response.advantages, response.squares = (np.full(length, np.nan) for _ in range(2))
            response.advantages[positions], response.squares[positions] = np.array(found).T
    finally:
        engine.close()
        graders.close()
    return graders.num_errors


def at_measured_positions(responses: Sequence[ScoredResponse]) -> list[ScoredResponse]:
    """Return the responses with their measured tokens alone, whose target is the reward dependence.

    Image dependence under a blank image is one of their signals, IMAGE_DEPENDENCE. Responses without one are left out.
    """
    measured = [(response, np.flatnonzero(np.isfinite(response.squares))) for response in responses]
    return [_at(response, places) for response, places in measured if places.size]


def _at(response: ScoredResponse, places: np.ndarray) -> ScoredResponse:
    signals = response.signals | {IMAGE_DEPENDENCE: response.target}
    return replace(
        response,
        token_ids=[response.token_ids[place] for place in places],
        text=response.text._replace(token_texts=[response.text.token_texts[place] for place in places]),
        signals={name: values[places] for name, values in signals.items()},
        target=response.squares[places],
        change=response.change[places],
        advantages=response.advantages[places],
        squares=response.squares[places],
    )


def _flags(config: Config) -> argparse.Namespace:
    """Return the settings of a run as the flags of pepo_rlhf.evaluate, which its engine takes."""
    import torch

    rollout, vllm = config.rollout, config.vllm
    return argparse.Namespace(
        model=config.actor.model_name_or_path,
        trust_remote_code=config.run.trust_remote_code,
        dtype=config.dtype_name,
        max_len=config.data.max_len,
        max_new_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        tensor_parallel_size=vllm.tensor_parallel_size,
        gpu_memory_utilization=vllm.gpu_memory_utilization,
        enforce_eager=vllm.enforce_eager or not torch.cuda.is_available(),  # there compilation takes minutes
        seed=config.train.seed,
    )


class _Graders:
    """The run's verifiers, each text graded once."""

    def __init__(self, config: Config, tokenizer: Any) -> None:
        self._service, self._tokenizer = RewardService(config.reward), tokenizer
        self._known: dict[tuple[str, str], float] = {}
        self.num_errors = 0
        self.close = self._service.close

    def rewards(self, label: str, responses: Sequence[list[int]]) -> list[float]:
        """Return the reward of each response, nan where it could not be graded."""
        texts = self._tokenizer.batch_decode(responses, skip_special_tokens=True)
        asked = {text: self._service.submit(text, label) for text in {*texts} if (text, label) not in self._known}
        for text, future in asked.items():
            grade = future.result()
            self._known[text, label] = grade.reward if grade.error is None else float("nan")
        rewards = [self._known[text, label] for text in texts]
        self.num_errors += sum(reward != reward for reward in rewards)
        return rewards

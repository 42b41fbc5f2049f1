"""Prompts of a run and the order in which they are drawn."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pepo_rlhf.config import Config
from pepo_rlhf.data import Row
from pepo_rlhf.data.batches import prompts_per_episode, steps_of
from pepo_rlhf.data.prompt import render_prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompt:
    """A row of a data set in the form that a rollout engine is asked it.

    Attributes:
        row: number of the row in the data set.
        datasource: name of the data set that the row comes from.
        text: the row put through the model's chat template.
        label: what the verifiers compare a response with.
        images: path or encoded bytes of each image.
    """

    row: int
    datasource: str
    text: str
    label: str
    images: tuple[str | bytes, ...]


def render_prompts(rows: Sequence[Row], processor: Any) -> list[Prompt]:
    """Return the prompt of each row, in order."""
    return [
        Prompt(number, row.datasource, render_prompt(processor, row), row.label, row.images)
        for number, row in enumerate(rows)
    ]


def choose_prompts(prompts: Sequence[Prompt], num_prompts: int = 4) -> list[Prompt]:
    """Return the first prompts with images, no two with the same ones: the questions of the vision check."""
    chosen: dict[tuple[str | bytes, ...], Prompt] = {}
    for prompt in prompts:
        if prompt.images:
            chosen.setdefault(prompt.images, prompt)
        if len(chosen) == num_prompts:
            break
    return list(chosen.values())


class PromptSchedule:
    """Order of the prompts over the whole run, as a function of a position alone.

    An episode is a random choice of as many prompts as make whole batches; a prompt that one episode leaves out may be
    in the next. Position 0 is the first prompt of the run, and a checkpoint needs to hold nothing but a position.

    Raises:
        ValueError: if there are fewer prompts than one batch.
    """

    def __init__(self, prompts: Sequence[Prompt], config: Config) -> None:
        self.prompts = prompts
        self.num_per_episode = prompts_per_episode(len(prompts), config)
        self.num_total = self.num_per_episode * config.train.num_episodes
        self.num_steps = steps_of(len(prompts), config)
        self._seed = config.train.seed
        self._generator = torch.Generator().manual_seed(self._seed)
        self._orders: list[list[int]] = []  # of each episode so far
        self._refill_order: tuple[int, list[int]] = (-1, [])  # number of the cycle, and its order
        if num_left_out := len(prompts) - self.num_per_episode:
            logger.warning(
                f"{num_left_out} of {len(prompts)} prompts are left out of each episode, another choice each time: "
                f"they do not fill a batch of --rollout.batch_size {config.rollout.batch_size}"
            )

    def draw(self, position: int, num_prompts: int, episode: int) -> list[Prompt]:
        """Return up to `num_prompts` prompts of an episode from a position of the run on; fewer where it ends."""
        while len(self._orders) <= episode:  # the generator's state runs through the episodes in turn
            self._orders.append(torch.randperm(len(self.prompts), generator=self._generator).tolist())
        start = position - episode * self.num_per_episode
        rows = self._orders[episode][: self.num_per_episode][start : start + num_prompts]
        return [self.prompts[row] for row in rows]

    def draw_refill(self, position: int, num_prompts: int) -> list[Prompt]:
        """Return prompts of an endless order, all of them again and again, each time shuffled anew."""
        rows = []
        for place in range(position, position + num_prompts):
            cycle, index = divmod(place, len(self.prompts))
            if self._refill_order[0] != cycle:
                shuffled = np.random.default_rng([self._seed, cycle]).permutation(len(self.prompts))
                self._refill_order = cycle, shuffled.tolist()
            rows.append(self._refill_order[1][index])
        return [self.prompts[row] for row in rows]

    @property
    def identity(self) -> dict[str, int]:
        """Return what a position depends on: the number of prompts and a checksum of their texts and labels."""
        texts = "\0".join(f"{prompt.text}\0{prompt.label}" for prompt in self.prompts)
        return {"num_rows": len(self.prompts), "checksum": zlib.crc32(texts.encode())}

    def require_identity(self, saved: dict[str, int]) -> None:
        """Raise ValueError unless a checkpoint's position was taken in these very prompts."""
        if saved != self.identity:
            raise ValueError(
                f"--data.prompt_dataset: its {len(self.prompts)} rows are not the {saved['num_rows']} rows of the run "
                "that wrote the checkpoint; go on with those, or start another run with a new --run.dir"
            )

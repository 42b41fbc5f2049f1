"""How many prompts of a data set an episode takes, and how many steps a run."""

from __future__ import annotations

from typing import Any


def prompts_per_episode(num_rows: int, config: Any) -> int:
    """Return the largest multiple of --rollout.batch_size that `num_rows` fill. Raise ValueError if that is none."""
    num_prompts = num_rows // config.rollout.batch_size * config.rollout.batch_size
    if num_prompts == 0:
        raise ValueError(
            f"{config.data.prompt_dataset} has {num_rows} rows, fewer than one batch of --rollout.batch_size "
            f"{config.rollout.batch_size}"
        )
    return num_prompts


def steps_of(num_rows: int, config: Any) -> int:
    """Return the training steps of a run on so many rows. Raise ValueError if they do not fill a batch."""
    num_steps: int = prompts_per_episode(num_rows, config) // config.rollout.batch_size * config.train.num_episodes
    return num_steps

"""How many prompts of a data set an episode takes."""

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

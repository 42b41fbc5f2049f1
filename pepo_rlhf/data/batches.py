"""How many prompts of a data set an episode takes."""

from __future__ import annotations


def prompts_per_episode(num_rows: int, args) -> int:
    """The largest multiple of --rollout.batch_size that `num_rows` fill."""
    num_prompts = num_rows // args.rollout.batch_size * args.rollout.batch_size
    if num_prompts == 0:
        raise ValueError(
            f"{args.data.prompt_dataset} has {num_rows} rows, fewer than one batch of --rollout.batch_size "
            f"{args.rollout.batch_size}"
        )
    return num_prompts

"""Check the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pepo_rlhf.checks.finding import Finding, error, ok
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.data.batches import prompts_per_episode


def check_rows(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether every row can be trained on, how many steps they make, and whether ranks can work on them together.

    Loading has measured every prompt, and refuses one that leaves no room for the response.
    """
    loaded, config = inputs.training_rows, inputs.config
    num_prompts = prompts_per_episode(len(loaded.rows), config)
    skipped = f", {loaded.num_skipped} skipped" if loaded.num_skipped else ""
    yield ok(
        f"{len(loaded.rows)} rows{skipped}; an episode takes {num_prompts}, "
        f"{num_prompts // config.rollout.batch_size} steps of {config.rollout.batch_size} prompts"
    )
    longest, visual = (max(column) for column in zip(*loaded.lengths, strict=True))
    yield ok(
        f"the longest prompt has {longest} tokens; up to {visual} of a prompt are visual; "
        f"{config.data.max_len - longest} of --data.max_len are left for the response"
    )
    if config.eval.dataset:
        yield ok(f"{len(inputs.evaluation_rows.rows)} rows to evaluate on")
    num_without_image = sum(not row.images for row in loaded.rows)
    if 0 < num_without_image < len(loaded.rows) and _ranks_share_the_encoder(config):
        yield error(
            f"{num_without_image} rows have no image: a rank with such rows alone leaves out the vision encoder, whose "
            "weights or gradients the others wait for: drop these rows, or set --actor.freeze_visual_encoder true and "
            "--ds.zero_stage 2"
        )


def _ranks_share_the_encoder(config: Any) -> bool:
    several = config.actor.num_nodes * config.actor.num_gpus_per_node > 1
    return several and (config.ds.zero_stage == 3 or not config.actor.freeze_visual_encoder)

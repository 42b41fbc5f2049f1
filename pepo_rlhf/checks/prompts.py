"""Check the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, ok
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.data.batches import prompts_per_episode


def check_rows(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether every row can be trained on, and how many steps they make.

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

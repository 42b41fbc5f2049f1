"""Do the settings go together?"""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, ok
from pepo_rlhf.config import Config
from pepo_rlhf.config.ranges import values_in_range
from pepo_rlhf.config.validate import RULES


def check_settings(config: Config) -> Iterator[Finding]:
    """Every rule that is broken; of values out of range the first, since other rules calculate with them."""
    if problem := values_in_range(config):
        yield error(problem)
        return
    broken = [problem for rule in RULES if (problem := rule(config))]
    yield from map(error, broken)
    if not broken:
        responses = config.rollout.batch_size * config.rollout.n_samples_per_prompt
        yield ok(
            f"{len(RULES)} rules hold; a step is {config.rollout.batch_size} prompts x "
            f"{config.rollout.n_samples_per_prompt} = {responses} responses, trained on in "
            f"{responses // config.train.batch_size} updates"
        )

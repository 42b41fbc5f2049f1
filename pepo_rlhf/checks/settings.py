"""Check that the settings go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pepo_rlhf.checks.finding import Finding, error, ok
from pepo_rlhf.config import Config
from pepo_rlhf.config.ranges import values_in_range
from pepo_rlhf.config.validate import RULES, trackio_is_installed, wandb_has_a_key

_OF_THE_MACHINE = (trackio_is_installed, wandb_has_a_key)  # that the run is on


def check_settings(config: Config, on_this_machine: bool = True) -> Iterator[Finding]:
    """Yield every broken rule, without the rules on this machine where the run is on another."""
    broken = list(broken_rules(config, on_this_machine))
    yield from map(error, broken)
    if not broken:
        responses = config.rollout.batch_size * config.rollout.n_samples_per_prompt
        yield ok(
            f"{len(_rules(on_this_machine))} rules hold; a step is {config.rollout.batch_size} prompts x "
            f"{config.rollout.n_samples_per_prompt} = {responses} responses, trained on in "
            f"{responses // config.train.batch_size} updates"
        )


def broken_rules(config: Config, on_this_machine: bool) -> Iterator[str]:
    """Yield what is wrong, a line a rule, and nothing more after a value out of range."""
    for rule in _rules(on_this_machine):
        if problem := rule(config):
            yield problem
            if rule is values_in_range:  # other rules calculate with what it lets through
                return


def _rules(on_this_machine: bool) -> list[Callable[[Config], str | None]]:
    return [rule for rule in RULES if on_this_machine or rule not in _OF_THE_MACHINE]

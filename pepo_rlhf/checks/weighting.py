"""Check the token weighting: whether it loads with its settings, and which settings it ignores."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config.secret_names import redact
from pepo_rlhf.core.signals import describe
from pepo_rlhf.core.token_weighting import TokenWeighting
from pepo_rlhf.core.weighting import foreign_settings, load_weighting


def check_weighting(inputs: Inputs) -> Iterator[Finding]:
    """Yield what is found; raise ValueError if the weighting, which may stand in a user's file, does not load."""
    method, settings = inputs.config.pepo.method, inputs.config.pepo.settings
    try:
        weighting = load_weighting(method, settings)
    except ValueError as problem:
        raise ValueError(redact(str(problem))) from problem
    if inputs.config.train.single_pass and (reason := _why_not_in_one_pass(weighting)):
        raise ValueError(f"--train.single_pass true does not go with --pepo.method {method}, which {reason}")
    if ignored := foreign_settings(method, settings):
        flags = [f"--pepo.settings.{name}" for name in ignored]
        yield warning(f"{', '.join(flags)}: --pepo.method {method} has no such setting and ignores it", *flags)
    needs = ", ".join(weighting.signals) or "no signals"
    yield ok(f"{method}, from {needs}")


def _why_not_in_one_pass(weighting: TokenWeighting) -> str | None:
    """Return what a weighting needs beyond one micro-batch in the update's own forward pass."""
    if weighting.compares_responses:
        return "compares the responses of the whole batch"
    if weighting.response_signals:
        return "reads the text of responses"
    if any(describe(name).perturbs_images for name in weighting.policy_signals):
        return "needs a second pass under perturbed images"
    return None

"""Check the token weighting: whether it loads with its settings, and which settings it ignores."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config.secret_names import redact
from pepo_rlhf.core.weighting import foreign_settings, load_weighting


def check_weighting(inputs: Inputs) -> Iterator[Finding]:
    """Yield what is found; raise ValueError if the weighting, which may stand in a user's file, does not load."""
    method, settings = inputs.config.pepo.method, inputs.config.pepo.settings
    try:
        weighting = load_weighting(method, settings)
    except ValueError as problem:
        raise ValueError(redact(str(problem))) from problem
    if ignored := foreign_settings(method, settings):
        flags = [f"--pepo.settings.{name}" for name in ignored]
        yield warning(f"{', '.join(flags)}: --pepo.method {method} has no such setting and ignores it", *flags)
    needs = ", ".join(weighting.signals) or "no signals"
    yield ok(f"{method}, from {needs}")

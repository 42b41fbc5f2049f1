"""The nested namespace that OpenRLHF's code reads (`args.actor.adam.lr`), made from the settings."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable
from functools import reduce
from types import SimpleNamespace
from typing import Any

from pepo_rlhf.config.settings import Config
from pepo_rlhf.config.upstream import READ_BY_WORKERS

# What upstream's command works out after parsing, and what follows from run.dir.
DERIVED: dict[str, Callable[[Config], Any]] = {
    "actor.eps_clip_low_high": lambda c: c.actor.eps_clip_low_high or (c.actor.eps_clip, c.actor.eps_clip),
    # One threshold is an upper bound.
    "algo.advantage.is_correction_threshold": lambda c: [0.0, *c.algo.advantage.is_correction_threshold][-2:],
    "rollout.max_tokens_per_gpu": lambda c: c.rollout.max_tokens_per_gpu or c.train.max_tokens_per_gpu,
    # Absolute: Ray workers may have another working directory.
    "run.dir": lambda c: str(c.run_dir),
    "ckpt.path": lambda c: str(c.checkpoints_dir),
    "ckpt.output_dir": lambda c: str(c.model_dir),
}


class Arguments(SimpleNamespace):
    """Nested settings with a short repr, since upstream prints the whole namespace."""

    def __repr__(self) -> str:
        return f"Arguments({textwrap.shorten(', '.join(vars(self)), width=100)})"


def to_arguments(config: Config) -> Arguments:
    """Return a namespace of every setting, of dropped flags that upstream's workers read, and of derived values."""
    settings = dataclasses.asdict(config)
    derived = {flag: derive(config) for flag, derive in DERIVED.items()}
    for flag, value in {**READ_BY_WORKERS, **derived}.items():
        *sections, name = flag.split(".")
        reduce(lambda section, key: section.setdefault(key, {}), sections, settings)[name] = value
    arguments = _namespace(settings)
    arguments.pepo.settings = config.pepo.settings  # a mapping that the weighting reads, not a section
    return arguments


def _namespace(settings: dict[str, Any]) -> Arguments:
    return Arguments(
        **{name: _namespace(value) if isinstance(value, dict) else value for name, value in settings.items()}
    )

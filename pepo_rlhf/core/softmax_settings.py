"""Settings that all weightings with a softmax over a response's tokens have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class SoftmaxSettings:
    """Settings of a softmax over a response's tokens."""

    temperature: float = 1.0
    """Temperature of the softmax; lower separates the weights more. The released scripts use 1.8."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"--pepo.settings.temperature must be greater than 0, not {self.temperature}")

"""The interface of a token weighting: how a response's advantage is spread over its tokens.

One inside the package is the file core/weighting/NAME.py, one outside of it is named path/to/file.py:ClassName:

    from dataclasses import dataclass
    from pepo_rlhf.core.token_weighting import TokenWeighting

    class Late(TokenWeighting):
        signals = ("entropy",)

        @dataclass(kw_only=True)
        class Settings:
            share: float = 0.5

        def weigh(self, signals, mask):
            ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pepo_rlhf.core.signal import ResponseSignal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class NoSettings:
    """Settings of a weighting that has none."""


class TokenWeighting(ABC):
    """Turn the signals of a batch into token weights.

    Attributes:
        signals: names of signals that `weigh` needs, out of the files of core/signals and `response_signals`. Policies
            compute no others.
        response_signals: signals of the weighting's own, by name: functions of a response's text and its row.
        scheduled: whether the weights gain influence with the progress of the run (--pepo.schedule), or count in full
            from the first step.
        compares_responses: whether a token's weight depends on other responses of the batch than its own.
        how_to_spread: what a user can do when the weights are nearly even, such as "lower --pepo.settings.temperature";
            None if they are meant to be even.
        Settings: keyword-only dataclass of --pepo.settings. Every field has a default, a number, a text or a boolean,
            whose type is the field's, and the string under a field is its help text. `__post_init__` raises a
            ValueError of one line that names the flag and its range.
    """

    signals: ClassVar[tuple[str, ...]] = ()
    response_signals: ClassVar[Mapping[str, ResponseSignal]] = {}
    scheduled: ClassVar[bool] = True
    compares_responses: ClassVar[bool] = False
    how_to_spread: ClassVar[str | None] = None
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @property
    def policy_signals(self) -> tuple[str, ...]:
        """Return the names of the signals that the policy's forward passes give."""
        return tuple(name for name in self.signals if name not in self.response_signals)

    @abstractmethod
    def weigh(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Return the weight of each token.

        Args:
            signals: [B, T] float32 by name, finite, and 0 at invalid tokens.
            mask: [B, T] bool, True at valid response tokens. A row may have none.

        Returns:
            [B, T] float32, 0 at invalid tokens; over a row's valid tokens their mean is 1, so that the size of an
            update does not depend on the weighting, unless the method drops tokens.
        """

    def __call__(self, signals: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Check the signals that the weighting needs, and weigh.

        Args:
            signals: [B, T] by name, of any float dtype; whatever they hold at invalid tokens is ignored.
            mask: [B, T], nonzero at valid response tokens.

        Returns:
            [B, T] float32, 0 at invalid tokens.

        Raises:
            ValueError: if a needed signal is missing, if its shape is not the mask's, if a signal or a weight is NaN
                or infinite at a valid token, or if `weigh` returns another shape.
        """
        mask = mask.bool()
        name = type(self).__name__
        if missing := [signal for signal in self.signals if signal not in signals]:
            raise ValueError(f"{name} needs the signals {', '.join(missing)}, which were not computed")
        weights = self.weigh({signal: _checked(signals[signal], mask, signal) for signal in self.signals}, mask)
        return _checked(weights, mask, f"the weight of {name}")


def _checked(values: Tensor, mask: Tensor, name: str) -> Tensor:
    """Return the values in float32, 0 at invalid tokens, or raise ValueError."""
    if values.shape != mask.shape:
        raise ValueError(f"{name} {tuple(values.shape)} and mask {tuple(mask.shape)} must have one shape")
    values = values.float().masked_fill(~mask, 0.0)
    if not values.isfinite().all():
        row, column = (~values.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"{name} is {values[row, column].item()} at valid token {column} of row {row}")
    return values

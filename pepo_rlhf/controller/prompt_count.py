"""Counts the rows of an episode as they are trained: none twice, none lost, also across restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


class PromptCount:
    """Count the rows that the current episode has trained.

    Args:
        state: of an earlier count, from `state`; None begins anew.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._episode: int = state["episode"] if state else -1
        self._trained = Counter(state["trained"]) if state else Counter()
        self._num_dropped: int = state["num_dropped"] if state else 0

    @property
    def state(self) -> dict[str, Any]:
        """Return the count for a checkpoint, of plain types."""
        return {"episode": self._episode, "trained": dict(self._trained), "num_dropped": self._num_dropped}

    def add(self, episode: int, rows: Iterable[int], num_dropped: int, num_drawn: int) -> dict[str, int]:
        """Add one step and return its metrics.

        Args:
            episode: that the step belongs to.
            rows: number of the row in the data set, of each trained group.
            num_dropped: groups that dynamic filtering has dropped in this step.
            num_drawn: prompts that the data loader has given out in this episode, this step's included.

        Returns:
            prompts_repeated: how often this episode has trained a row that it had trained before; prompts_lost: prompts
            given out and neither trained nor dropped.
        """
        if episode != self._episode:
            self._episode, self._trained, self._num_dropped = episode, Counter(), 0
        self._trained.update(rows)
        self._num_dropped += num_dropped
        num_trained = self._trained.total()
        return {
            "prompts_repeated": num_trained - len(self._trained),
            "prompts_lost": num_drawn - num_trained - self._num_dropped,
        }

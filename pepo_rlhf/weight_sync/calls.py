"""Calls of the rollout engines from the policy's ranks."""

from __future__ import annotations

import socket
from typing import Any

import ray
import torch


class EngineCalls:
    """Call every engine from rank 0, and remember whether one was found dead.

    Args:
        handles: RolloutWorkers.
        deaths: exceptions that mean that an engine has died.

    Attributes:
        death: the exception of an engine that died; whoever starts a sync sets it to None.
    """

    def __init__(self, handles: list[Any], deaths: tuple[type[Exception], ...]) -> None:
        self.handles, self.deaths = handles, deaths
        self.death: Exception | None = None

    def start(self, method: str, *args: Any, **kwargs: Any) -> list[ray.ObjectRef]:
        """Start a method of every engine and return its references; on ranks other than 0 none."""
        if torch.distributed.get_rank() != 0:
            return []
        return [getattr(engine, method).remote(*args, **kwargs) for engine in self.handles]

    def call(self, method: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the results of a method of every engine; nothing on ranks other than 0, or if an engine is dead."""
        references = self.start(method, *args, **kwargs)
        if references:
            ray.wait(references, num_returns=len(references))
        try:
            return list(ray.get(references))
        except self.deaths as death:
            self.death = death
            return []


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])

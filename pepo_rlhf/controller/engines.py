"""The rollout engines as the controller sees them: asleep or awake, alive or dead, with which weights.

Ray starts a dead engine again, up to --vllm.max_restarts times, so that all handles stay valid. It then has the weights
of the model's folder and must be sent the policy's before it is asked anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from ray.exceptions import ActorUnavailableError, RayActorError
from vllm.v1.engine.exceptions import EngineDeadError

from pepo_rlhf.weight_sync.sync import ENGINE_DEATHS, SyncInterrupted

logger = logging.getLogger(__name__)
_PATIENCE = 60  # seconds that a restart may take without a word


class EngineDied(RuntimeError):
    """An engine died while it was asked; what the other engines answered is kept."""


class EngineLost(RuntimeError):
    """An engine died more often than --vllm.max_restarts allows."""


class Engines:
    """The engines of a run.

    Args:
        handles: RolloutWorkers.
        policy: group of PolicyWorkers, whose weights the engines take.
        sleeps: whether the engines give their memory back while they are not used (--vllm.enable_sleep).

    Attributes:
        num_restarts: restarts so far.
        weights_version: training steps behind the weights that were last sent.
    """

    def __init__(self, handles: Sequence[Any], policy: RayActorGroup, sleeps: bool) -> None:
        self.handles, self.policy, self.sleeps = list(handles), policy, sleeps
        self.num_restarts = self.weights_version = 0
        self._processes = [self._wait_for(number) for number in range(len(self.handles))]

    def of_prompt(self, index: int) -> Any:
        """Return the engine that answers the prompt of this place in a batch."""
        return self.handles[index % len(self.handles)]

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Give the engines their memory inside the context."""
        if self.sleeps:
            batch_vllm_engine_call(self.handles, "wake_up")
        yield
        if self.sleeps:
            batch_vllm_engine_call(self.handles, "sleep")

    def collect(self, call: Callable[[int], Any], indices: Sequence[int], answers: dict[int, Any]) -> None:
        """Start `call(index)` for each index, which returns a reference, and add the results to `answers`.

        This may run in a thread of its own: it leaves the policy alone.

        Raises:
            EngineDied: if an engine has died before or meanwhile; all other results are in `answers`.
        """
        try:
            processes = ray.get([engine.check_health.remote() for engine in self.handles])
        except ENGINE_DEATHS as death:
            raise EngineDied from death
        if processes != self._processes:
            raise EngineDied("an engine was started again and has old weights")
        lost: Exception | None = None
        for index, reference in [(index, call(index)) for index in indices]:
            try:
                answers[index] = ray.get(reference)
            except ENGINE_DEATHS as death:
                logger.warning(f"prompt {index} of the batch is lost: {type(death).__name__}")
                lost = death
        if lost is not None:
            raise EngineDied from lost

    def insist(self, ask: Callable[[], None], version: int) -> None:
        """Call `ask` until no engine dies in it; dead engines are started again and take the policy's weights.

        Args:
            version: training steps behind those weights.
        """
        while True:
            try:
                return ask()
            except EngineDied:
                self.send_weights(version)

    def send_weights(self, version: int) -> None:
        """Send the policy's weights to engines that are all alive, and again if one dies meanwhile.

        Args:
            version: training steps behind the weights.

        Raises:
            EngineLost: if an engine does not come back.
        """
        while True:
            self._revive()
            if self.sleeps:
                # The cache of keys and values follows before the next generation: less memory is needed at once.
                batch_vllm_engine_call(self.handles, "wake_up", tags=["weights"])
            try:
                ray.get(self.policy.async_run_method("send_weights", version))
            except SyncInterrupted:
                logger.warning("a rollout engine has died in a weight sync, which is made again")
                continue
            self.weights_version = version
            return

    def _revive(self) -> None:
        """Wait until every engine is alive, and join those that were started again to the weight sync."""
        processes = [self._wait_for(number) for number in range(len(self.handles))]
        num_new = sum(new != old for new, old in zip(processes, self._processes, strict=True))
        self._processes = processes
        self.num_restarts += num_new
        if num_new:
            logger.warning(f"{num_new} rollout engines had died and have been started again")
            ray.get(self.policy.async_run_method("reconnect_engines"))

    def _wait_for(self, number: int) -> str:
        """Return the id of an engine's living process, waiting while Ray starts it again."""
        engine, killed, waited = self.handles[number], False, 0
        while True:
            try:
                return str(ray.get(engine.check_health.remote()))
            except EngineDeadError:
                if not killed:
                    ray.kill(engine, no_restart=False)  # Ray restarts dead actors, and this one outlives its engine
                    killed = True
            except ActorUnavailableError:
                pass  # between two processes
            except RayActorError as death:
                raise EngineLost(
                    f"rollout engine {number} died more often than --vllm.max_restarts allows, or cannot start: {death}"
                ) from death
            waited += 1
            if waited == _PATIENCE:
                logger.warning(
                    f"rollout engine {number} has not come back for {_PATIENCE} s: it loads its model, or the cluster "
                    "has no free GPU for it since its node is gone. The run waits, up to --run.stall_timeout"
                )
            time.sleep(1)

"""The rollout engines as the controller sees them: asleep or awake, alive or dead, with which weights.

Ray starts a dead engine again, up to --vllm.max_restarts times, so that all handles stay valid. It then has the weights
of the model's folder and must be sent the policy's before it is asked anything.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
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
        max_restarts: restarts of one engine that Ray makes.

    Attributes:
        num_restarts: restarts so far, those before a resume included.
        weights_version: training steps behind the weights that were last sent.
    """

    def __init__(self, handles: Sequence[Any], policy: RayActorGroup, sleeps: bool, max_restarts: int) -> None:
        self.handles, self.policy, self.sleeps, self.max_restarts = list(handles), policy, sleeps, max_restarts
        self.num_restarts = self.weights_version = 0
        self._deaths: Counter[int] = Counter()  # of each engine since the command began
        self._lost: Counter[int] = Counter()  # prompts that each engine had when it died
        self._is_told: set[int] = set()  # engines whose death has been told, and which are not back yet
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
                self._lost[index % len(self.handles)] += 1
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
        new = [number for number, process in enumerate(processes) if process != self._processes[number]]
        self._processes = processes
        self.num_restarts += len(new)
        for number in new:
            self._tell_death(number)  # of one that was back before anybody asked
        self._is_told.clear()
        if new:
            ray.get(self.policy.async_run_method("reconnect_engines"))

    def _tell_death(self, number: int) -> None:
        """Say in a line, once, that an engine has died and what becomes of its prompts."""
        if number in self._is_told:
            return
        self._is_told.add(number)
        self._deaths[number] += 1
        if self._deaths[number] > self.max_restarts:
            return  # `EngineLost` says so
        num_lost = self._lost.pop(number, 0)
        prompts = f"; its {num_lost} prompts are asked again" if num_lost else ""
        restarts = f"{self._deaths[number]} of {self.max_restarts}"
        logger.warning(f"rollout engine {number} died, restarting it ({restarts}){prompts}")

    def _wait_for(self, number: int) -> str:
        """Return the id of an engine's living process, waiting while Ray starts it again."""
        engine, killed, waited = self.handles[number], False, 0
        while True:
            try:
                return str(ray.get(engine.check_health.remote()))
            except EngineDeadError:
                self._tell_death(number)
                if not killed:
                    ray.kill(engine, no_restart=False)  # Ray restarts dead actors, and this one outlives its engine
                    killed = True
            except ActorUnavailableError:
                self._tell_death(number)  # it is between two processes
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

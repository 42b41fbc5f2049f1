"""A rollout engine that dies is started again, takes the current weights, and answers the lost prompts again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.utils.logging_utils import init_logger
from ray.exceptions import ActorUnavailableError, RayActorError
from vllm.v1.engine.exceptions import EngineDeadError

logger = init_logger(__name__)
# Ray's actor is gone, or it is there and the engine process behind it is gone.
DEATHS = (RayActorError, EngineDeadError)
_PATIENCE = 60  # seconds that a restart may take without a word


class SyncInterrupted(RuntimeError):
    """A rollout engine died in a weight sync, which every rank of the policy has left: it can be made again."""


class EngineLost(RuntimeError):
    """A rollout engine died more often than --vllm.max_restarts allows."""


class EngineRecovery:
    """Starts dead engines again. Ray does it, up to --vllm.max_restarts times each, so that all handles stay valid.

    Attributes:
        policy: whose weights a restarted engine takes; set before anything can die.
        num_restarts: restarts so far.
    """

    def __init__(self, engines: list) -> None:
        self.engines = engines
        self.policy: RayActorGroup | None = None
        self.num_restarts = 0
        self._processes: dict[int, str] = {}  # engine -> id of the process that it had when last seen

    def collect(self, ask: Callable[[int], Any], num_prompts: int) -> list:
        """The answers to `ask(0)`, `ask(1)`, ..., in this order; what an engine takes to its grave is asked again.

        Raises:
            EngineLost: if an engine does not come back.
        """
        answers: dict[int, Any] = {}
        while unanswered := [index for index in range(num_prompts) if index not in answers]:
            if self.restart_dead():
                self.send_weights(self._broadcast)
            for index, ref in [(index, ask(index)) for index in unanswered]:
                try:
                    answers[index] = ray.get(ref)
                except DEATHS as death:
                    logger.warning(f"prompt {index} of the batch is lost: {type(death).__name__}")
        return [answers[index] for index in range(num_prompts)]

    def send_weights(self, broadcast: Callable[[], None]) -> None:
        """Calls `broadcast` to engines that are alive, and again if one of them has died meanwhile."""
        while True:
            self.restart_dead()
            try:
                return broadcast()
            except SyncInterrupted:
                logger.warning("a rollout engine has died in a weight sync, which is made again")

    def _broadcast(self) -> None:
        assert self.policy is not None
        ray.get(self.policy.async_run_method(method_name="broadcast_to_vllm"))

    def restart_dead(self) -> bool:
        """Waits until every engine is alive. True if one was restarted: it has the weights of the model's folder."""
        found = {number: self._process_of(number) for number in range(len(self.engines))}
        num_new = sum(self._processes.get(number, process) != process for number, process in found.items())
        self._processes = found
        self.num_restarts += num_new
        if num_new:
            logger.warning(f"{num_new} rollout engines had died and have been started again")
            assert self.policy is not None
            ray.get(self.policy.async_run_method(method_name="rejoin_engines"))
        return num_new > 0

    def _process_of(self, number: int) -> str:
        """Id of the living process of an engine; while Ray restarts it, waits."""
        engine, killed, waited = self.engines[number], False, 0
        while True:
            try:
                return ray.get(engine.check_health.remote())
            except EngineDeadError:
                if not killed:
                    ray.kill(engine, no_restart=False)  # Ray restarts dead actors, and this one has outlived its engine
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

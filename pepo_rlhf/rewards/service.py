"""The reward service: grades responses in processes that can be killed.

A verifier that hangs, raises, eats memory or ends its process costs the one response that it was given. That response
has a grader error, which is not the same as a wrong answer.

The processes are plain ones with lines of JSON between. Those of multiprocessing, and of the pools built on it, would
run the main module of a Ray worker once more each, and unpickle what verifiers return.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

import psutil

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.rewards.reward import RewardError, component_name

_LOADING_SECONDS = 120  # for a user's file that loads a model


class Grade(NamedTuple):
    """What a response is worth. After a grader error components and reward are 0, and `error` says what happened."""

    components: dict[str, float]
    reward: float
    error: str | None = None

    @property
    def headline(self) -> str:
        """Return the error in one line: of a traceback, the exception and the component that raised it."""
        return " ".join((self.error or "").splitlines()[-2:])


class RewardService:
    """Grades in several processes, several responses at once.

    Args:
        settings: the section `reward` of a run, of which functions, weights, processes, limits and network are read.

    Raises:
        RewardError: if the functions cannot be loaded, with the traceback of a user's file.
    """

    def __init__(self, settings: Reward) -> None:
        self._settings = settings
        network = ["--allow_network"] if settings.allow_network else []
        self._grader_arguments = [*network, str(settings.memory_mb), *settings.functions]
        self._processes: list[GraderProcess] = []
        # The kernel kills a process when the thread that started it ends: this one outlives those that grade, so that
        # close() finds what verifiers have started.
        self._starter = ThreadPoolExecutor(1, "reward-starter")
        self._own = threading.local()  # each thread has a process of its own
        self._threads = ThreadPoolExecutor(settings.num_processes, "reward", initializer=self._add_process)
        # The first is started at once, so that a mistake shows at once; the others when there is work for them.
        self._threads.submit(lambda: self._own.process.start()).result()

    def submit(self, response: str, label: str) -> Future[Grade]:
        return self._threads.submit(self._grade, response, label)

    def close(self) -> None:
        """End the processes after the responses that they are grading; responses that wait are cancelled."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.stop()
        self._starter.shutdown()

    def _add_process(self) -> None:
        self._own.process = GraderProcess(self._grader_arguments, self._starter)
        self._processes.append(self._own.process)

    def _grade(self, response: str, label: str) -> Grade:
        reply = self._own.process.grade(response, label, self._settings.timeout_seconds)
        if "error" in reply:
            return Grade(dict.fromkeys(map(component_name, self._settings.functions), 0.0), 0.0, reply["error"])
        components, weights = reply["components"], self._settings.weights
        return Grade(components, sum(weights.get(name, 1.0) * value for name, value in components.items()))


class GraderProcess:
    """One process of pepo_rlhf.rewards.grader, started by a thread of `starter`, and again when it has been lost."""

    def __init__(self, arguments: Sequence[str], starter: Executor) -> None:
        self._starter = starter
        self._command = [sys.executable, "-m", "pepo_rlhf.rewards.grader", *arguments]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the process and wait until the functions are loaded; raise RewardError if they cannot be."""
        search_path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *sys.path])
        self._process = self._starter.submit(
            subprocess.Popen,
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path},
            encoding="utf-8",
            start_new_session=True,  # out of reach of Ctrl-C, and the group of what verifiers start
        ).result()
        reply = self._receive(_LOADING_SECONDS)
        if "error" in reply:
            self.stop()
            raise RewardError(f"the rewards do not load: {reply['error']}")

    def grade(self, response: str, label: str, timeout_seconds: float) -> dict:
        """Return the reply of the process, or {"error": text} where there is none in time."""
        if self._process is None:
            self.start()
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead process: its reply is the end of file
            print(json.dumps([response, label]), file=self._process.stdin, flush=True)
        reply = self._receive(timeout_seconds)
        if reply.get("restart"):
            self.stop()
        return reply

    def stop(self) -> int:
        """Kill the process and what it has started, and return its exit status; 0 if there is none."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        _kill_with_descendants(process.pid)
        with contextlib.suppress(BrokenPipeError), process:  # closes the pipes and waits
            pass
        return process.returncode

    def _receive(self, seconds: float) -> dict:
        assert self._process is not None and self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(seconds * 1000):
            self.stop()
            return {"error": f"no result within {seconds:g} s"}
        line = self._process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        status = self.stop()
        ending = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return {"error": f"the grader process {ending}"}


def _kill_with_descendants(process_id: int) -> None:
    """Kill a grader process, its group, and descendants in other groups, which are known as long as it lives."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process_id).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process_id, signal.SIGKILL)
    for descendant in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            descendant.kill()

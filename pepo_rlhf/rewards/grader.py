"""The process that verifiers run in: python -m pepo_rlhf.rewards.grader [--allow_network] MEMORY_MB FUNCTION...

RewardService starts it and talks to it in lines of JSON. It answers once when the functions are loaded, then each line
[response, label] with {"components": ...} or {"error": text, "restart": whether the process is spoilt}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from typing import TextIO

from pepo_rlhf.compat.parent_death import adopt_orphans, end_with_parent
from pepo_rlhf.config.secret_names import redact
from pepo_rlhf.rewards.network import close_network
from pepo_rlhf.rewards.reward import Reward, RewardError, load_rewards
from pepo_rlhf.rewards.units import load_units


def main(memory_mb: int, functions: list[str], allow_network: bool) -> None:
    # The input ends with the parent, but a verifier that hangs does not look at it.
    end_with_parent()
    adopt_orphans()  # so that the service finds what verifiers leave behind
    tasks, results = _take_standard_streams()
    if not allow_network:
        close_network()  # before the functions' files are run
    try:
        reward = _load(functions)
    except (Exception, SystemExit) as error:
        _send(results, {"error": redact(str(error) if isinstance(error, RewardError) else traceback.format_exc())})
        return
    _limit_memory(memory_mb)
    _send(results, {})
    for line in tasks:
        _send(results, _grade(reward, *json.loads(line)))


def _take_standard_streams() -> tuple[TextIO, TextIO]:
    """Return standard input and output, for tasks and results alone: verifiers read nothing and print to stderr."""
    tasks, results = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return tasks, results


def _load(functions: list[str]) -> Reward:
    reward = load_rewards(functions)
    if not all(":" in function for function in functions):
        # Loaded before the first response, against which the second that it takes would count.
        import latex2sympy2_extended  # noqa: F401

        load_units()
    return reward


def _limit_memory(megabytes: int) -> None:
    """Limit what verifiers allocate on top of what is loaded; beyond it Python raises MemoryError."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    limit = size + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _grade(reward: Reward, response: str, label: str) -> dict:
    try:
        return {"components": reward(response, label)}
    except (Exception, SystemExit) as error:
        # What has filled the memory may still be there, say in a cache of the verifier's.
        return {"error": redact(traceback.format_exc()), "restart": isinstance(error, MemoryError)}


def _send(results: TextIO, message: dict) -> None:
    print(json.dumps(message), file=results, flush=True)


if __name__ == "__main__":
    allow_network = sys.argv[1] == "--allow_network"
    memory_mb, *functions = sys.argv[1 + allow_network :]
    main(int(memory_mb), functions, allow_network)

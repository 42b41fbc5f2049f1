"""Ends of a run that are nobody's programming error, in one line instead of a traceback."""

from __future__ import annotations

from ray.exceptions import RayTaskError

from pepo_rlhf.pipeline.blindness import BlindnessError
from pepo_rlhf.pipeline.engine_recovery import DEATHS, EngineLost
from pepo_rlhf.runtime.checkpoints import CheckpointError
from pepo_rlhf.runtime.watchdog import Stalled


def explain(error: BaseException) -> str | None:
    """What has happened; None where only the traceback tells."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause  # from the process where it happened
    if isinstance(error, SystemError) and error.__cause__ is not None:
        error = error.__cause__  # raised by a signal handler while Ray waited in C
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, DEATHS):
        return f"a process of the run has died, and the run ends with it: {text}"
    if isinstance(error, (BlindnessError, CheckpointError, EngineLost, Stalled)):
        return text
    return None

"""Environment variables of the processes that run models."""

from __future__ import annotations

import os

from pepo_rlhf.compat import cpu, log_files
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE

# Seconds before tqdm draws a bar: in the log of a run each redraw is a line, and the line of a step says what counts.
_NO_BARS = str(10**9)


def worker_environment(num_ranks: int, trust_remote_code: bool, logs: str = "") -> dict[str, str]:
    """Return the variables of every Ray worker; where the user has set one, the user's value.

    Args:
        num_ranks: ranks of the policy on a node, which work at the same time.
        trust_remote_code: whether code that comes with a model may be run.
        logs: folder for the output of each worker; without one it is left to Ray.
    """
    variables = {
        "TOKENIZERS_PARALLELISM": "false",  # workers fork after tokenising
        "NCCL_DEBUG": "WARN",
        "PYTHONWARNINGS": "ignore",  # a line a step is what a user wants to read
        "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of the calls that nobody waits for once the first has failed
        "TQDM_DELAY": _NO_BARS,
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if not (cpu.machine_has_gpu() or os.environ.get("RAY_ADDRESS")):
        # Policy, reference and engine mostly take turns; the ranks of one group work at the same time.
        variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // num_ranks))
    variables = {name: os.environ.get(name, value) for name, value in variables.items()}
    # From the flag alone: a variable left over in the user's shell must not allow the code.
    return variables | {TRUST_REMOTE_CODE: "1" if trust_remote_code else "0", log_files.FOLDER: logs}

"""Ray start-up: connects to the cluster of a submitted job, or starts one on this machine."""

from __future__ import annotations

import os

import ray

from pepo_rlhf.compat import cpu
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config.reservations import required_gpus, shortfall

_CONTROLLER_CPUS = 6  # trainer, and with --train.async_enable its two processes, two queues and a lock


def connect(args) -> None:
    """Connects this process to Ray.

    With RAY_ADDRESS set (as in every submitted job) that cluster is used. Otherwise a local one is started; without a
    GPU it gets as many logical GPUs as the run reserves, which is all that upstream's placement asks for.

    Raises:
        ValueError: if the cluster is too small for the run. A placement group would wait for ever.
    """
    required = required_gpus(args)
    options: dict = {}
    if not os.environ.get("RAY_ADDRESS"):
        options = {"address": "local", "num_cpus": required + _CONTROLLER_CPUS}
        options |= {"include_dashboard": False, "dashboard_host": "127.0.0.1"}  # who reaches it runs code here
        if not cpu.machine_has_gpu():
            options["num_gpus"] = required
    ray.init(
        **options,
        runtime_env={"worker_process_setup_hook": "pepo_rlhf.compat.install", "env_vars": worker_environment(args)},
    )
    if problem := shortfall(args, alive_nodes()):
        ray.shutdown()
        raise ValueError(problem)


def alive_nodes() -> list[dict[str, float]]:
    """Resources of each node of the cluster that this process is connected to."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def worker_environment(args) -> dict[str, str]:
    """Environment variables of every Ray worker. What the user has set wins."""
    variables = {
        "TOKENIZERS_PARALLELISM": "false",  # workers fork after tokenising
        "NCCL_DEBUG": "WARN",
        # A line a step is what a user wants to read.
        "PYTHONWARNINGS": "ignore",
        "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of the calls that nobody waits for once the first has failed
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if not (cpu.machine_has_gpu() or os.environ.get("RAY_ADDRESS")):
        # Policy, reference and engine mostly take turns; the ranks of one group work at the same time.
        variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // args.actor.num_gpus_per_node))
    variables = {name: os.environ.get(name, value) for name, value in variables.items()}
    # From the flag alone: a variable left over in the user's shell must not open the gate.
    return variables | {TRUST_REMOTE_CODE: "1" if args.run.trust_remote_code else "0"}

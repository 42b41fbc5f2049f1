"""Ray start-up: connects to the cluster of a submitted job, or starts one on this machine."""

from __future__ import annotations

import os
from typing import Any

import ray

from pepo_rlhf.compat import cpu
from pepo_rlhf.compat.environment import worker_environment
from pepo_rlhf.config import Config
from pepo_rlhf.config.reservations import required_gpus, shortfall

_SPARE_CPUS = 2  # for tasks of Ray itself; the loop runs in this process and reserves nothing


def connect(config: Config) -> None:
    """Connect this process to Ray.

    With RAY_ADDRESS set (as in every submitted job) that cluster is used. Otherwise a local one is started; without a
    GPU it gets as many logical GPUs as the run reserves, which is all that OpenRLHF's placement asks for.

    Raises:
        ValueError: if the cluster is too small for the run. A placement group would wait for ever.
    """
    required = required_gpus(config)
    options: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        options = {"address": "local", "num_cpus": required + _SPARE_CPUS}
        options |= {"include_dashboard": False, "dashboard_host": "127.0.0.1"}  # who reaches it runs code here
        if not cpu.machine_has_gpu():
            options["num_gpus"] = required
    num_ranks = config.actor.num_gpus_per_node
    logs = "" if config.run.verbose else str(config.logs_dir)
    variables = worker_environment(num_ranks, config.run.trust_remote_code, logs)
    environment = {"worker_process_setup_hook": "pepo_rlhf.compat.install_in_worker", "env_vars": variables}
    ray.init(**options, runtime_env=environment, log_to_driver=config.run.verbose)
    if problem := shortfall(config, alive_nodes()):
        ray.shutdown()
        raise ValueError(problem)


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources of each node of the cluster that this process is connected to."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]

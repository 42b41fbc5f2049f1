"""Ray start-up: connects to the cluster of a submitted job, or starts one on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import grpc
import psutil
import ray

from pepo_rlhf.compat import cpu
from pepo_rlhf.compat.environment import worker_environment
from pepo_rlhf.config import Config
from pepo_rlhf.config.reservations import required_gpus, shortfall

_ANSWER_SECONDS = 30
_END_SECONDS = 10  # given to the workers of a cluster that ends
_SPARE_CPUS = 2  # for tasks of Ray itself; the loop runs in this process and reserves nothing


def connect(config: Config) -> None:
    """Connect this process to Ray.

    With RAY_ADDRESS set (as in every submitted job) that cluster is used. Otherwise a local one is started; without a
    GPU it gets as many logical GPUs as the run reserves, which is all that OpenRLHF's placement asks for.

    Raises:
        ValueError: if the cluster does not answer, or is too small for the run, for which it would wait for ever.
    """
    required = required_gpus(config)
    options: dict[str, Any] = {}
    if address := os.environ.get("RAY_ADDRESS"):
        require_reachable("RAY_ADDRESS", address)
    else:
        options = {"address": "local", "num_cpus": required + _SPARE_CPUS}
        options |= {"include_dashboard": False, "dashboard_host": "127.0.0.1"}  # who reaches it runs code here
        if not cpu.machine_has_gpu():
            options["num_gpus"] = required
    num_ranks = config.actor.num_gpus_per_node
    logs = "" if config.run.verbose else str(config.logs_dir)
    variables = worker_environment(num_ranks, config.run.trust_remote_code, logs)
    # Ray refuses a variable that the job has set too; `worker_environment` has kept the job's value.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    environment = {"worker_process_setup_hook": "pepo_rlhf.compat.install_in_worker", "env_vars": variables}
    ray.init(**options, runtime_env=environment, log_to_driver=config.run.verbose)
    if problem := shortfall(config, alive_nodes()):
        disconnect()
        raise ValueError(problem)


def disconnect() -> None:
    """Leave the cluster, and end it with all of its processes if `connect` has started it."""
    raylets = [child for child in psutil.Process().children() if child.name() == "raylet"]
    workers = [worker for raylet in raylets for worker in raylet.children(recursive=True)]
    ray.shutdown()
    _, unfinished = psutil.wait_procs(workers, timeout=_END_SECONDS)
    for worker in unfinished:  # Ray asks its workers to end: one that stands still would outlive the run
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def require_reachable(name: str, address: str) -> None:
    """Raise ValueError if no server answers at the address, which `name` gave; Ray itself would try for minutes."""
    place = address.removeprefix("ray://")
    if not place.rpartition(":")[2].isdigit() or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return  # "auto", or a server that answers certificates alone
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_ANSWER_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise ValueError(
                f"{name} {address} does not answer within {_ANSWER_SECONDS} s: start the cluster, or mend the address"
            ) from error


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources of each node of the cluster that this process is connected to."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]

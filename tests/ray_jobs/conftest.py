"""A real Ray cluster with its job server, on this machine, for all tests of the session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from ray.job_submission import JobSubmissionClient

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]


class Cluster(NamedTuple):
    """Addresses: of the GCS, for drivers; of the job server."""

    gcs: str
    jobs: str


@pytest.fixture(scope="session")
def cluster():
    """Two CPUs and two logical GPUs: just what the run of test_training.py reserves."""
    port, dashboard, agent, client = (free_port() for _ in range(4))
    command = [str(BIN / "ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=2", "--num-gpus=2"]
    command += [f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--ray-client-server-port={client}", "--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    # Jobs run the first python on the path. The package comes with the working directory, not from here.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    # A short path, for sockets; of its own, so that no other test takes this cluster for its own.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    environment["RAY_TMPDIR"] = folder
    with open(f"{folder}/log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for_job_server(f"http://127.0.0.1:{dashboard}", process, Path(folder, "log"))
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}")
    finally:
        process.send_signal(signal.SIGTERM)  # with --block, ends every process of the cluster
        process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_job_server(address, process, log):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            JobSubmissionClient(address).list_jobs()
            return
        except (ConnectionError, RuntimeError):
            time.sleep(0.5)
    pytest.fail(log.read_text())


@pytest.fixture(scope="session")
def working_dir(tmp_path_factory):
    """What a job needs of the repository."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("pepo_rlhf", "examples"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder

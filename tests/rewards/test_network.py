"""Rewards and the network, in real grader processes, against a server on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.rewards import RewardService

CLIENT = """
import ctypes, socket, subprocess, sys

CONNECT = "import socket; socket.create_connection(('127.0.0.1', {port}), 5).close()"

def reach(response, label):
    if response == "by Python":
        exec(CONNECT)
    if response == "by name":
        socket.getaddrinfo("localhost", {port})
    if response == "by a child":
        subprocess.run([sys.executable, "-c", CONNECT], check=True, capture_output=True)
    if response == "by C" and ctypes.CDLL(None).socket(socket.AF_INET, socket.SOCK_STREAM, 0) < 0:
        raise OSError("no socket")
    if response == "within the machine":
        ours, theirs = socket.socketpair()
        ours.send(b"x")
    return 1.0
"""
WAYS = ["by Python", "by name", "by a child", "by C"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A reward that reaches for a server that listens, in the way that the response says."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        file: Path = tmp_path_factory.mktemp("rewards") / "client.py"
        file.write_text(CLIENT.replace("{port}", str(server.getsockname()[1])))
        yield f"{file}:reach"


def errors(function: str, ways: list[str], **settings: bool) -> list[str]:
    reward = Reward(functions=[function], num_processes=1, timeout_seconds=10, memory_mb=256, **settings)
    with closing(RewardService(reward)) as service:
        return [service.submit(way, "").result().headline for way in ways]


def test_the_network_is_closed_unless_asked_for(client: str) -> None:
    by_python, by_name, by_a_child, by_c, within = errors(client, [*WAYS, "within the machine"])
    assert by_python.startswith("PermissionError: the network is closed to rewards; --reward.allow_network true opens")
    assert by_name.startswith("PermissionError: the network is closed to rewards")
    assert "returned non-zero exit status" in by_a_child
    assert by_c.startswith("OSError: no socket")
    assert within == ""


def test_the_network_is_open_where_asked_for(client: str) -> None:
    assert errors(client, WAYS, allow_network=True) == [""] * 4

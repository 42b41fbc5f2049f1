from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

MISBEHAVIOUR = """
import os, re, signal, sys, time

cache = []

def hang(): time.sleep(60)
def hang_in_c(): re.match(r"(a+)+$", "a" * 40 + "b")
def hang_in_a_child(): os.fork() and os.waitpid(-1, 0); time.sleep(60)
def raise_error(): return 1 / 0
def return_no_number(): return "high"
def eat_memory(): return len(bytearray(10 * 2**30))
def hoard_memory():
    while True:
        cache.append(bytes(2**20))
def leave(): sys.exit(3)
def die(): os._exit(3)
def crash(): os.kill(os.getpid(), signal.SIGSEGV)

def odd(response, label):
    action = globals().get(response)
    return action() if action else 1.0

def process_id(response, label):
    return os.getpid()

def noisy(response, label):
    print("printed"), sys.stdout.flush(), os.write(1, b"written")
    return float(sys.stdin.read() == "")
"""


@pytest.fixture(scope="session")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's reward that does what the response says."""
    file = tmp_path_factory.mktemp("rewards") / "odd.py"
    file.write_text(textwrap.dedent(MISBEHAVIOUR))
    return file

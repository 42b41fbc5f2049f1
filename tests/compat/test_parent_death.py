"""Processes as vLLM's engine is one: Python, started by a Ray worker, prepared through PYTHONPATH."""

import subprocess
import sys
import time

import psutil
import pytest

SLEEP = "import time; print(1, flush=True); time.sleep(60)"
PARENT = """
import subprocess, sys, time
from pepo_rlhf.compat import parent_death
{bind}
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def start(bind, child=SLEEP):
    code = PARENT.format(bind=bind, child=child)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    return parent, psutil.Process(int(parent.stdout.readline()))


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("bind", "outlives"), [("parent_death.bind_children()", False), ("", True)])
def test_a_bound_child_ends_with_its_killed_parent(bind, outlives):
    parent, child = start(bind)
    assert is_alive(child)
    parent.kill()
    parent.wait()
    psutil.wait_procs([child], timeout=3)
    assert is_alive(child) == outlives
    if outlives:
        child.kill()


def test_a_childs_own_child_is_not_bound():
    code = PARENT.format(bind="", child=SLEEP)
    parent, child = start("parent_death.bind_children()", child=code)
    time.sleep(0.5)  # until it has printed, it has started its own
    grandchild = child.children()[0]
    parent.kill()
    parent.wait()
    psutil.wait_procs([child], timeout=3)
    assert (is_alive(child), is_alive(grandchild)) == (False, True)
    grandchild.kill()

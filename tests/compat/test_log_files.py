"""Log files of workers, in processes of their own, with a stand-in for Ray."""

import os
import subprocess
import sys

from pepo_rlhf.compat import log_files

WORKER = """
import subprocess, sys, types
context = types.SimpleNamespace(get_actor_id=lambda: "actor" + sys.argv[1])
sys.modules["ray"] = types.SimpleNamespace(get_runtime_context=lambda: context)
from pepo_rlhf.compat import log_files
log_files.begin()
print("imports", flush=True)
log_files.name("policy_0")
print("work of", sys.argv[1], flush=True)
subprocess.run(["sh", "-c", "echo engine >&2"])
"""


def run(folder, number):
    environment = os.environ | {log_files.FOLDER: str(folder)}
    return subprocess.run([sys.executable, "-c", WORKER, number], capture_output=True, text=True, env=environment)


def test_a_worker_and_what_it_starts_write_to_the_file_of_its_role_behind_earlier_ones(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    done = [run(logs, number) for number in "12"]
    assert [(one.stdout, one.stderr, one.returncode) for one in done] == [("", "", 0)] * 2
    (path,) = logs.iterdir()
    assert path.name == "policy_0.log"
    lines = path.read_text().splitlines()
    assert lines[0].endswith(", actor actor1") and " policy_0: process " in lines[0]
    assert lines[1:4] == ["imports", "work of 1", "engine"]
    assert lines[4].endswith(", actor actor2") and lines[5:] == ["imports", "work of 2", "engine"]
    assert log_files.last_lines(logs, "actor2", num_lines=2) == (path, ["work of 2", "engine"])
    assert log_files.last_lines(logs, "actor3") is None


def test_without_a_folder_or_where_it_cannot_be_made_output_stays_where_it_is(tmp_path):
    (tmp_path / "file").touch()
    for folder, errors in (("", 0), (tmp_path / "file" / "logs", 1)):
        done = run(folder, "1")
        assert done.stdout == "imports\nwork of 1\n" and done.stderr.count("Ray's session folder") == errors


def test_the_actor_of_an_error_is_looked_for_behind_it():
    from pepo_rlhf.controller.failures import actor_of

    outer, death = RuntimeError("engine 0 is lost"), RuntimeError()
    death.actor_id, outer.__cause__ = "7f", death
    assert actor_of(outer) == "7f" and actor_of(RuntimeError()) == ""

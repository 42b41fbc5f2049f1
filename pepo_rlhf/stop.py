"""pepo stop RUN_DIR ... [--reason user|preempted] [--wait]: let runs end after their step, with a checkpoint.

Folders in which nothing runs are left alone. With --reason preempted, which a Kubernetes pod's preStop hook gives, so
are runs of another cluster than the pod's; the run then ends with exit code 143 instead of 0, and is tried again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pepo_rlhf.controller import run_lock, stop_request


def main() -> None:
    parser = argparse.ArgumentParser(prog="pepo stop", description=__doc__)
    parser.add_argument("run_dirs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--reason", choices=stop_request.REASONS, default="user", help="who asks (default: user)")
    parser.add_argument("--wait", action="store_true", help="return when the runs have ended")
    options = parser.parse_args()
    asked = [run_dir for run_dir in options.run_dirs if _ask_if_possible(run_dir, options.reason)]
    attempts = [(run_dir, stop_request.running_attempt(run_dir)) for run_dir in asked]
    while options.wait and any(_runs(run_dir, attempt) for run_dir, attempt in attempts):
        time.sleep(1)


def _runs(run_dir: Path, attempt: str) -> bool:
    return run_lock.is_held(run_dir) and stop_request.running_attempt(run_dir) == attempt


def _ask_if_possible(run_dir: Path, reason: str) -> bool:
    """Ask, and print why a folder cannot be read, so that those behind it are asked all the same."""
    try:
        return ask(run_dir, reason)
    except (OSError, ValueError) as error:
        print(f"{run_dir}: {error}")
        return False


def ask(run_dir: Path, reason: str) -> bool:
    """Ask the run in a folder to stop; return False if there is none, or another cluster's."""
    attempt = stop_request.running_attempt(run_dir)
    if reason == "preempted" and attempt and attempt.split()[0] != stop_request.own_cluster():
        print(f"{run_dir}: the run is another cluster's")
        return False
    if not run_lock.is_held(run_dir):
        print(f"{run_dir}: no run holds run.lock")
        return False
    if not attempt:
        print(f"{run_dir}: the run is starting; ask again in a minute")
        return False
    stop_request.ask(run_dir, reason, attempt)
    print(f"{run_dir}: the run ends after its step, with a checkpoint")
    return True


if __name__ == "__main__":
    main()

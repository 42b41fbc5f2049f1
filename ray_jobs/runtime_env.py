"""The runtime environment of a submitted run: files, variables and, where the image lacks them, light packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pepo_rlhf.checks.job_paths import EXCLUDES
from pepo_rlhf.checks.versions import pins
from pepo_rlhf.config.secret_names import looks_secret

# Heavy ones (torch, ray, vllm, deepspeed, ...) belong into the image: installing them takes longer than many a run.
LIGHT_PACKAGES = ("datasets", "jsonargparse", "math-verify", "pint")


def runtime_env(working_dir: Path, variables: Mapping[str, str], install: bool = False) -> dict[str, Any]:
    """Return Ray's runtime environment of a run.

    Args:
        working_dir: the repository; becomes the job's working directory on every node.
        variables: environment variables of the driver and of all workers.
        install: install the light packages that setup.py pins, on each node, before the job starts.

    Raises:
        ValueError: for a variable that looks like a secret: Ray shows runtime environments to whoever sees the
            dashboard, and logs them.
    """
    for name in variables:
        if looks_secret(name):
            raise ValueError(f"--env {name} looks like a secret: set it where the cluster's pods or nodes are started")
    environment: dict[str, Any] = {
        "working_dir": str(working_dir),
        "excludes": list(EXCLUDES),
        # Lines of the log as they are printed.
        "env_vars": {"PYTHONUNBUFFERED": "1", **variables},
    }
    if install:
        environment["pip"] = [str(pins()[name]) for name in LIGHT_PACKAGES]
    return environment

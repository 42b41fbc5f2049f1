"""Check that the run folder can be made and written to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pepo_rlhf.checks.finding import Finding, error, ok
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.storage import nearest_existing


def check_run_folder(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether the folder, or the nearest one above it that exists, can be written to."""
    folder = Path(inputs.config.run.dir)
    existing = nearest_existing(folder)
    if not existing.is_dir():
        yield error(f"--run.dir {folder}: {existing} is a file; name a folder, or move the file away")
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield error(
            f"--run.dir {folder}: {existing} cannot be written to; name another folder, or change its permissions"
        )
    else:
        yield ok(f"{existing} can be written to")

"""Paths that a submitted run names: the job has a copy of the working directory, and loses what it writes into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pepo_rlhf.config import Config
from pepo_rlhf.data.sources import is_hub_id

# What a package leaves out at all times, in the style of .gitignore: it is large, made anew, or secret.
EXCLUDES = (
    *(".git", ".venv", "runs", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "*.safetensors"),
    *(".env*", ".netrc"),
)


def is_submitted() -> bool:
    """Return whether this process is the entrypoint of a Ray job, or was started by it."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def require_lasting_run_folder(config: Config) -> None:
    """Raise ValueError for a run folder inside the job's own copy of the working directory, which Ray deletes."""
    if not os.path.isabs(config.run.dir):
        raise ValueError(
            f"--run.dir {config.run.dir} is relative, and a job's working directory is deleted with its results; name "
            "a folder by its whole path, on storage that the nodes share"
        )


def require_uploaded(config: Config) -> None:
    """Raise ValueError for a relative path of a submitted job that is not in its working directory."""
    for flag, path in relative_paths(config, Path()):
        if not path.exists() and path.parts[0] in EXCLUDES:
            raise ValueError(
                f"{flag} {path}: a job's package leaves {path.parts[0]} out; put it on storage that the nodes share, "
                "and name it by its whole path"
            )


def relative_paths(config: Config, root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the flag and path of what a run reads by a path relative to `root`; ids of the hub are none."""
    data = config.data
    named = [("--actor.model_name_or_path", config.actor.model_name_or_path), ("--data.image_root", data.image_root)]
    for flag, names in (("--data.prompt_dataset", data.prompt_dataset), ("--eval.dataset", config.eval.dataset)):
        named += [(flag, name.strip()) for name in (names or "").split(",")]
    texts = (("--data.instruction", data.instruction), ("--data.system_prompt", data.system_prompt))
    named += [(flag, text) for flag, text in texts if text and text.endswith((".txt", ".md"))]
    files = [("--reward.functions", name) for name in config.reward.functions]
    files += [("--pepo.method", config.pepo.method), ("--data.task", data.task or "")]
    named += [(flag, name.rpartition(":")[0]) for flag, name in files]
    for flag, name in named:
        path = Path(name or "")
        if not name or path.is_absolute():
            continue
        if (root / path).exists() or path.parts[0] in EXCLUDES or not is_hub_id(name):
            yield flag, path

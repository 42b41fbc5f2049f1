"""Checkpoints on disk: a folder gets its name when all of it is written, and its manifest says what it must hold.

<run.dir>/checkpoints/global_step40/          manifest.json, last; trainer.pt; random_0.pt, ...; deepspeed/
<run.dir>/checkpoints/best_global_step30/     the same, after the best evaluation
<run.dir>/checkpoints/global_step50.partial/  being written, or left by a run that was killed while it wrote
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from pepo_rlhf.checkpoints import base_model
from pepo_rlhf.config import Config

logger = logging.getLogger(__name__)
MANIFEST = "manifest.json"
# A checkpoint means nothing, or cannot be loaded, under other values of these.
SETTINGS = (
    "train.seed",
    "rollout.batch_size",
    "rollout.n_samples_per_prompt",
    "actor.num_nodes",
    "actor.num_gpus_per_node",
    "actor.optim",
    "ds.tensor_parallel_size",
    "ds.zero_stage",
    "ds.param_dtype",
    "ds.lora.rank",
    "ds.lora.alpha",
    "ds.lora.target_modules",
    "train.enable_ema",
)
_RESHAPED = ("actor.num_nodes", "actor.num_gpus_per_node", "ds.tensor_parallel_size", "ds.zero_stage")
_NAME = re.compile(r"(?:best_)?global_step(\d+)")
_PARTIAL = ".partial"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written."""


class FileRecord(NamedTuple):
    """What the manifest says about a file."""

    num_bytes: int
    sha256: str


def partial(checkpoint: Path) -> Path:
    """Return the folder that `checkpoint` is written into until `commit`."""
    return checkpoint.with_name(checkpoint.name + _PARTIAL)


def begin(checkpoint: Path) -> None:
    """Make that folder, and remove what a kill left behind of others."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    discard_partial(checkpoint.parent)
    partial(checkpoint).mkdir()


def discard_partial(folder: Path) -> None:
    """Remove what a kill has left of unfinished checkpoints in a folder of checkpoints, if there is one."""
    for leftover in folder.glob(f"*{_PARTIAL}"):
        _discard(leftover)


def seal(path: Path) -> FileRecord:
    """Force a written file onto the disk and return its record."""
    _sync(path)
    return _record(path)


def commit(checkpoint: Path, files: dict[str, FileRecord], config: Config) -> None:
    """Give a folder begun by `begin` its name.

    Args:
        checkpoint: the name.
        files: path below the folder -> record, of every file that a resumed run needs.
        config: the run's settings; the manifest keeps SETTINGS.
    """
    folder = partial(checkpoint)
    settings = {flag: attrgetter(flag)(config) for flag in SETTINGS}
    manifest = {"settings": settings, "files": {name: record._asdict() for name, record in sorted(files.items())}}
    if config.ds.lora.rank > 0:
        manifest["base_model"] = base_model.identify(config.actor.model_name_or_path or "")
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in {folder / MANIFEST, folder, *((folder / name).parent for name in files)}:
        _sync(path)
    if checkpoint.exists():  # one that did not pass `what_is_wrong`: the run went back behind it and came here again
        remove(checkpoint)
    folder.rename(checkpoint)
    _sync(checkpoint.parent)


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint, renamed first so that a kill in between leaves nothing that looks like one."""
    discarded = partial(checkpoint.with_name(checkpoint.name + ".removed"))
    checkpoint.rename(discarded)
    _discard(discarded)


def _discard(path: Path) -> None:
    """Remove a folder, or a link to a checkpoint that was moved to another disk, which rmtree refuses."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def prune(newest: Path, max_num: int, max_gigabytes: float) -> None:
    """Remove the oldest checkpoints behind `newest` until `max_num` are left, of `max_gigabytes` together at most.

    `newest` stays in any case. Of the best ones, which count apart, only the last stays.
    """
    is_best = newest.name.startswith("best_")
    same_kind = [path for path in _listed(newest.parent) if path.name.startswith("best_") == is_best]
    older = [path for path in same_kind if step_of(path) < step_of(newest)]
    keep = older[: 0 if is_best else max_num - 1]
    while keep and sum(map(size_of, [newest, *keep])) > max_gigabytes * 1024**3:
        keep.pop()
    for checkpoint in older:
        if checkpoint not in keep:
            remove(checkpoint)


def remove_older_than(newest: Path) -> None:
    """Remove the checkpoints of earlier steps than `newest`, except the best ones."""
    for checkpoint in _listed(newest.parent):
        if not checkpoint.name.startswith("best_") and step_of(checkpoint) < step_of(newest):
            remove(checkpoint)


def newest_complete(folder: Path, with_content: bool = True) -> Path | None:
    """Return the whole checkpoint of the highest step; warn of each that is not whole and is skipped.

    Args:
        folder: of checkpoints; may be missing.
        with_content: compare the files' contents as well as their sizes, which takes minutes where they are large.
    """
    for checkpoint in _listed(folder):
        problem = what_is_wrong(checkpoint, with_content)
        if problem is None:
            return checkpoint
        logger.warning(f"checkpoint {checkpoint} is skipped: {problem}")
    return None


def what_is_wrong(checkpoint: Path, with_content: bool = True) -> str | None:
    """Return in a line how the folder differs from what its manifest says; None if it does not."""
    try:
        manifest = _read_manifest(checkpoint)
        if not isinstance(manifest.get("settings"), dict):
            return f"{MANIFEST} does not say what settings it was written with"
        if not manifest["files"]:
            return f"{MANIFEST} lists no files"
        for name, expected in manifest["files"].items():
            path = checkpoint / name
            if path.stat().st_size != expected["num_bytes"]:
                return f"{name} has {path.stat().st_size} bytes and the manifest says {expected['num_bytes']}"
            if with_content and _record(path).sha256 != expected["sha256"]:
                return f"the content of {name} is not what was written"
    except FileNotFoundError as error:
        return f"{os.path.relpath(error.filename, checkpoint)} is missing"
    except OSError as error:
        return f"it cannot be read: {error}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{MANIFEST} cannot be read: {error!r}"
    return None


def require_same_settings(checkpoint: Path, config: Config) -> None:
    """Raise ValueError if a setting that the checkpoint depends on differs in `config`, or is none of SETTINGS."""
    reshaped = _RESHAPED if config.ds.use_universal_ckpt else ()
    for flag, value in _read_manifest(checkpoint)["settings"].items():
        if flag not in SETTINGS:
            raise ValueError(
                f"{checkpoint} depends on {flag}, which this version does not know: go on with the version that wrote "
                "it, or start another run with a new --run.dir"
            )
        if flag not in reshaped and attrgetter(flag)(config) != value:
            raise ValueError(
                f"--{flag} is {attrgetter(flag)(config)}, and {checkpoint} was written with {value}: go on with that, "
                "or start another run with a new --run.dir"
            )


def require_same_base(checkpoint: Path, config: Config) -> None:
    """Raise ValueError if the checkpoint's adapters were trained on another model than the settings name."""
    saved, model = _read_manifest(checkpoint).get("base_model"), config.actor.model_name_or_path or ""
    if saved is not None and (name := base_model.difference(saved, model)) is not None:
        raise ValueError(
            f"--actor.model_name_or_path {model} is not the model that the adapters in {checkpoint} were trained on "
            f"({name} differs): name that one, or start another run with a new --run.dir"
        )


def _read_manifest(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))


def step_of(checkpoint: Path) -> int:
    """Return the number of steps that the run had done."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None, checkpoint
    return int(match[1])


def _listed(folder: Path) -> list[Path]:
    """Return the checkpoints, newest first; of one step the best one, which is written after the evaluation."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: (step_of(path), path.name.startswith("best_")), reverse=True)


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def size_of(checkpoint: Path) -> int:
    """Return the bytes of its files."""
    return sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a run folder holds of a run that has ended, and what the same command will do with it."""

from __future__ import annotations

from pathlib import Path

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.config import Config

UNFINISHED = "model.unfinished"  # stands beside a model while it is written
# What a run writes, and first what tells that there is a run, which is the last to be set aside. Other files, such as a
# user's data or verifier, stay where they are.
_WRITTEN = (
    *("metrics.jsonl", "metrics_rolled_back.jsonl", "evaluations.jsonl", "evaluations_rolled_back.jsonl"),
    *("config.yaml", "vision_check.json", "report.html", "learning_curve.png"),
    *("tokens", "tensorboard", "checkpoints", "logs", "model", "adapter", UNFINISHED),
)


def has_model(run_dir: Path) -> bool:
    """Return whether the folder holds the whole model, or the adapters, of a run that has ended."""
    return any((run_dir / name).exists() for name in ("model", "adapter")) and not (run_dir / UNFINISHED).exists()


def num_steps_done(run_dir: Path) -> int:
    """Return the whole lines of metrics.jsonl: the steps of the run that stands in the folder."""
    path = run_dir / "metrics.jsonl"
    return path.read_bytes().count(b"}\n") if path.exists() else 0


def set_aside(run_dir: Path) -> Path | None:
    """Move what a run with at least one step has left to `earlier_N`, and return that folder; None if there is none.

    The run folder then is as good as new. Unfinished checkpoints are removed.
    """
    if num_steps_done(run_dir) == 0:
        return None
    folders.discard_partial(run_dir / "checkpoints")
    numbers = [int(path.name[8:]) for path in run_dir.glob("earlier_*") if path.name[8:].isdigit()]
    aside = run_dir / f"earlier_{max(numbers, default=0) + 1}"
    aside.mkdir()
    for path in filter(Path.exists, (run_dir / name for name in reversed(_WRITTEN))):
        path.rename(aside / path.name)
    return aside


def next_start(config: Config) -> str:
    """Return what the same command will do, from whether the run folder holds a whole checkpoint."""
    checkpoint = folders.newest_complete(config.checkpoints_dir, with_content=False)
    num_steps, resume = num_steps_done(config.run_dir), config.ckpt.resume
    if resume == "never" and num_steps:
        following = "there is no checkpoint" if checkpoint is None else f"--ckpt.resume auto goes on from {checkpoint}"
        return f"{following}; with --ckpt.resume never the same command needs another --run.dir"
    if checkpoint is not None and resume != "never":
        return f"the same command goes on from {checkpoint}"
    if resume == "must":
        return "there is no checkpoint, which --ckpt.resume must asks for: begin anew with auto"
    aside = ", and sets these steps aside" if num_steps else ""
    return f"there is no checkpoint: the same command begins anew{aside}"

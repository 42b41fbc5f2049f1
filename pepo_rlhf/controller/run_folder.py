"""What a run folder holds of a run that has ended, and what the same command will do with it."""

from __future__ import annotations

from pathlib import Path

from pepo_rlhf.checkpoints import folders

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


def next_start(run_dir: Path) -> str:
    """Return what the same command will do, from whether the folder holds a whole checkpoint."""
    checkpoint = folders.newest_complete(run_dir / "checkpoints", with_content=False)
    if checkpoint is not None:
        return f"the same command goes on from {checkpoint}"
    if num_steps_done(run_dir):
        return "there is no checkpoint: the same command begins anew, and sets these steps aside"
    return "there is no checkpoint: the same command begins anew"

"""Trackers beside metrics.jsonl: TensorBoard always, Weights & Biases and trackio if asked for."""

from __future__ import annotations

from typing import Any, Protocol

import yaml

from pepo_rlhf.config import Config


class Tracker(Protocol):
    """What takes the records of a run; the modules wandb and trackio are such, too."""

    def log(self, record: dict[str, Any], step: int) -> Any:
        """Take the record of a step or of an evaluation."""

    def finish(self) -> Any:
        """End the run in the tracker."""


class TensorBoard:
    """Write each number as a scalar, `train/...` of a step and `eval/...` of an evaluation."""

    def __init__(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(log_dir=folder)

    def log(self, record: dict[str, Any], step: int) -> None:
        """Write the numbers of a record."""
        for name, value in record.items():
            tag = f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"
            self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self._writer.close()


def start_trackers(config: Config) -> list[Tracker]:
    """Start a run in each tracker that is enabled.

    The settings go along as they stand in config.yaml. wandb finds its key in the environment (WANDB_API_KEY).
    """
    trackers: list[Tracker] = [TensorBoard(str(config.tensorboard_dir / config.run_name))]
    settings = config.logger
    if settings.wandb.enable:
        import wandb

        wandb.init(
            project=settings.wandb.project,
            entity=settings.wandb.org,
            group=settings.wandb.group,
            name=config.run_name,
            config=_written_settings(config),
        )
        trackers.append(wandb)
    if settings.trackio.enable:
        import trackio

        trackio.init(project=settings.trackio.project, name=config.run_name, config=_written_settings(config))
        trackers.append(trackio)
    return trackers


def _written_settings(config: Config) -> dict[str, Any]:
    return yaml.safe_load((config.run_dir / "config.yaml").read_text(encoding="utf-8"))

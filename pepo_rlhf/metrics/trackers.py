"""Optional trackers beside metrics.jsonl: Weights & Biases and trackio, which share one interface."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import yaml


def start_trackers(args) -> list[ModuleType]:
    """Starts a run in each tracker that is enabled and returns their modules, each with `log` and `finish`.

    The settings go along as they stand in config.yaml. wandb finds its key in the environment (WANDB_API_KEY).
    """
    trackers: list[ModuleType] = []
    name, settings = args.logger.wandb.run_name, args.logger
    if settings.wandb.enable:
        import wandb

        project = {"project": settings.wandb.project, "entity": settings.wandb.org, "group": settings.wandb.group}
        wandb.init(**project, name=name, config=_config(args))
        trackers.append(wandb)
    if settings.trackio.enable:
        import trackio

        trackio.init(project=settings.trackio.project, name=name, config=_config(args))
        trackers.append(trackio)
    return trackers


def _config(args) -> dict:
    return yaml.safe_load(Path(args.run.dir, "config.yaml").read_text(encoding="utf-8"))

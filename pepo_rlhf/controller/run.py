"""One run: start the workers, load the models, check that they see, train, save, and leave nothing behind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import ray
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.config import Config
from pepo_rlhf.controller.checkpoints import Checkpoints
from pepo_rlhf.controller.engines import Engines
from pepo_rlhf.controller.placement import Workers, load_models, start_workers
from pepo_rlhf.controller.prompts import Prompt, PromptSchedule, render_prompts
from pepo_rlhf.controller.rollouts import Rollouts
from pepo_rlhf.controller.run_folder import UNFINISHED
from pepo_rlhf.controller.stop_request import StopRequest
from pepo_rlhf.controller.trainer import Trainer
from pepo_rlhf.controller.vision_check import check_vision
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.data import LoadedRows
from pepo_rlhf.data.batches import steps_of
from pepo_rlhf.metrics.advice import diagnose
from pepo_rlhf.metrics.console import phase
from pepo_rlhf.metrics.progress import ProgressBar
from pepo_rlhf.metrics.run_log import RunLog
from pepo_rlhf.metrics.trackers import start_trackers
from pepo_rlhf.rewards.reward import component_name
from pepo_rlhf.tasks import display_metric


def run(
    config: Config,
    training_rows: LoadedRows,
    evaluation_rows: LoadedRows,
    resume_from: Path | None,
    checkpoint_bytes: int,
    stop: StopRequest,
) -> None:
    """Train on the Ray cluster that this process is connected to, and save the policy under the run folder.

    Args:
        training_rows, evaluation_rows: as the checks before the run have loaded them.
        resume_from: folder of the checkpoint to go on from.
        checkpoint_bytes: size of a checkpoint, estimated.
        stop: asks the run to end after the step that it is in.

    Raises:
        VisionError: if the vision check fails.
        Stopped: after a checkpoint, if `stop` was set.
        Stalled: if a phase takes longer than --run.stall_timeout.
    """
    with Watchdog(config.run.stall_timeout) as watchdog, start_workers(config, watchdog) as workers:
        watchdog.enter("loading of the models")
        with phase("loading policy, reference and rollout engines"):
            engines = load_models(config, workers, num_updates(config, len(training_rows.rows)), resume_from)
        checkpoints = Checkpoints(config, workers.policy, resume_from, checkpoint_bytes)
        train(config, workers, engines, training_rows, evaluation_rows, checkpoints, watchdog, stop)
        watchdog.enter("saving of the model")
        with phase("saving the model"):
            (config.run_dir / UNFINISHED).touch()
            ray.get(workers.policy.async_save_model())
            (config.run_dir / UNFINISHED).unlink()


def train(
    config: Config,
    workers: Workers,
    engines: Engines,
    training_rows: LoadedRows,
    evaluation_rows: LoadedRows,
    checkpoints: Checkpoints,
    watchdog: Watchdog,
    stop: StopRequest,
) -> None:
    """Make the vision check and train, with workers whose models are loaded. Raise as `run`."""
    processor = get_tokenizer(config.actor.model_name_or_path, None)
    schedule = PromptSchedule(render_prompts(training_rows.rows, processor), config)
    evaluation_prompts = render_prompts(evaluation_rows.rows, processor)
    if config.run.vision_check and not checkpoints.saved:
        watchdog.enter("vision check")
        with phase("vision check"):
            check_vision(config, workers.policy, engines, schedule.prompts, processor)
    with open_run_log(config, schedule.num_steps, checkpoints.saved.get("global_step", 0)) as run_log:
        run_log.constants["rows_skipped"] = training_rows.num_skipped
        rollouts = Rollouts(config, engines, processor)
        parts = (rollouts, schedule, evaluation_prompts, checkpoints, run_log, watchdog, stop)
        Trainer(config, workers.policy, workers.reference, *parts).fit()


def num_updates(config: Config, num_rows: int) -> int:
    """Return the optimiser steps of a run on so many rows, which the learning-rate schedule is made for."""
    return steps_of(num_rows, config) * (config.num_responses // config.train.batch_size) * config.train.max_epochs


def run_vision_check(config: Config, prompts: list[Prompt], processor: Any) -> None:
    """Start what `run` starts, make the vision check, and end it all.

    Raises:
        VisionError: if the check fails.
    """
    with Watchdog(config.run.stall_timeout) as watchdog, start_workers(config, watchdog) as workers:
        watchdog.enter("vision check")
        check_vision(config, workers.policy, load_models(config, workers, max_steps=1), prompts, processor)


def open_run_log(config: Config, num_steps: int, global_step: int) -> RunLog:
    """Return the run's log, with trackers, and without what lies beyond the step that the run goes on from."""
    display = display_metric(map(component_name, config.reward.functions), config.data.task)
    run_log = RunLog(
        config.run_dir,
        num_steps,
        shown=("reward", display, "format", "entropy", "rollout_trainer_gap"),
        trackers=[*start_trackers(config), ProgressBar(num_steps, shown=("reward", display, "time_step"))],
        tracker_steps=config.logger.logging_steps,
        diagnose=partial(diagnose, config=config),
    )
    run_log.roll_back(global_step)
    return run_log

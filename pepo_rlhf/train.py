"""python -m pepo_rlhf.train --config FILE [--section.key value ...]: one training run.

Exit codes: 0 trained to the end; 1 an error; 2 a mistake in flags, data or run folder; 143 stopped by SIGTERM, with a
checkpoint if there was anything to save.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pepo_rlhf import compat
from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints.ownership import require_own
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.controller import run_folder, run_lock
from pepo_rlhf.data.batches import prompts_per_episode

if TYPE_CHECKING:
    from pepo_rlhf.checks.inputs import Inputs

_SIGTERM_EXIT = 128 + signal.SIGTERM


def main() -> None:
    """Check, then train."""
    config = parse_arguments()
    compat.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if config.run.trust_remote_code else "0"
    try:
        inputs = check_inputs(config)
        require_unfinished(config, len(inputs.training_rows.rows))
        resume_from = open_run_folder(config)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    config.run.dir = str(config.run_dir)  # Ray workers may have another working directory
    train(config, inputs, resume_from)


def train(config: Config, inputs: Inputs, resume_from: Path | None) -> None:
    """Connect to Ray and run, and tell ends that are nobody's programming error in one line."""
    # Imported late: a mistake in flags or data is reported without waiting for Ray, vLLM and DeepSpeed to load.
    import ray

    from pepo_rlhf.checks.storage import one_checkpoint_bytes
    from pepo_rlhf.controller import cluster
    from pepo_rlhf.controller.failures import explain
    from pepo_rlhf.controller.run import run
    from pepo_rlhf.controller.trainer import Stopped

    try:
        cluster.connect(config)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    try:
        rows = (inputs.training_rows, inputs.evaluation_rows)
        run(config, *rows, resume_from, one_checkpoint_bytes(inputs), stop_on_sigterm())
    except Stopped as stopped:
        print(f"stopped {stopped}; {run_folder.next_start(config.run_dir)}", flush=True)
        raise SystemExit(_SIGTERM_EXIT) from None
    except Exception as error:
        if (explanation := explain(error, config.run.dir)) is None:
            raise
        print(f"error: {explanation}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    finally:
        ray.shutdown()


def check_inputs(config: Config) -> Inputs:
    """Make the cheap checks of pepo_rlhf.check, so that a wrong model, data or reward costs no GPU time.

    Returns:
        Model and data as the checks have loaded them; the run trains on these rows.

    Raises:
        ValueError: one line that names what is wrong and how to mend it.
    """
    # Imported late, as transformers comes with it.
    from pepo_rlhf.check import CHEAP, run_checks
    from pepo_rlhf.checks.inputs import Inputs

    inputs = Inputs(config)
    for name, finding in run_checks(CHEAP, inputs):
        if finding.level == "error":
            raise ValueError(finding.message)
        if finding.level == "warning":
            print(f"warning: {name}: {finding.message}", file=sys.stderr)
    return inputs


def require_unfinished(config: Config, num_rows: int) -> None:
    """Raise ValueError if the run folder holds the model of a run that has made all steps of `num_rows` rows."""
    num_steps = prompts_per_episode(num_rows, config) // config.rollout.batch_size * config.train.num_episodes
    if config.model_dir.exists() and run_folder.num_steps_done(config.run_dir) >= num_steps:
        raise ValueError(
            f"--run.dir {config.run_dir} holds a finished run of {num_steps} steps, and its model: choose another, or "
            "go on from its checkpoint with more --train.num_episodes"
        )


def open_run_folder(config: Config) -> Path | None:
    """Make the run folder this process's own, write config.yaml, and return the checkpoint to go on from.

    Raises:
        ValueError: if the folder cannot be used, or as `run_lock.hold` and `checkpoint_to_resume` do.
    """
    try:
        config.run_dir.mkdir(parents=True, exist_ok=True)
        run_lock.hold(config.run_dir)
        resume_from = checkpoint_to_resume(config)
        if resume_from is None and (aside := run_folder.set_aside(config.run_dir)) is not None:
            print(f"--run.dir holds a run without a checkpoint, which is set aside in {aside}", flush=True)
        write_config(config)
    except OSError as error:
        raise ValueError(
            f"--run.dir {config.run.dir} cannot be used ({error}): mend that, or name another folder"
        ) from error
    return resume_from


def checkpoint_to_resume(config: Config) -> Path | None:
    """Return the folder of the checkpoint that --ckpt.resume asks for; None for a run that begins.

    Raises:
        ValueError: if there is none and there must be, if the run folder holds a run that would be overwritten, or if
            the checkpoint is not the run's own or belongs to other settings.
    """
    run_dir, resume = config.run_dir, config.ckpt.resume
    if resume == "never":
        if (run_dir / "metrics.jsonl").exists():
            raise ValueError(f"--run.dir {run_dir} holds a run; choose another, or continue it with --ckpt.resume auto")
        return None
    checkpoint = folders.newest_complete(config.checkpoints_dir)
    if checkpoint is None:
        if resume == "must":
            raise ValueError(
                f"--ckpt.resume must finds no whole checkpoint in {config.checkpoints_dir}; auto begins anew"
            )
        if config.model_dir.exists():
            raise ValueError(f"--run.dir {run_dir} holds a finished run without checkpoints; choose another")
        return None
    require_own(checkpoint, run_dir)
    folders.require_same_settings(checkpoint, config)
    print(f"the run goes on from {checkpoint}", flush=True)
    return checkpoint


def write_config(config: Config) -> None:
    """Write the resolved settings to config.yaml of the run folder. They hold no secrets: those have no flag."""
    settings = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
    (config.run_dir / "config.yaml").write_text(settings, encoding="utf-8")


def stop_on_sigterm() -> threading.Event:
    """Return an event that the first SIGTERM sets, to end the run after its step; the next one ends it at once."""
    stop = threading.Event()

    def on_sigterm(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("SIGTERM: the run ends after this step, with a checkpoint", flush=True)

    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set a handler of its own
    return stop


if __name__ == "__main__":
    main()

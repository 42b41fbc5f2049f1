"""python -m pepo_rlhf.train --config FILE [--section.key value ...]: one training run.

Exit codes: 0 trained to the end; 1 an error; 2 a mistake in flags, data or run folder; 130 Ctrl-C; 143 stopped by
SIGTERM or preempted, with a checkpoint if there was anything to save; a run that its user stops with `pepo stop` has 0.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pepo_rlhf import compat
from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints.ownership import require_own
from pepo_rlhf.compat import log_files
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.controller import run_folder, run_lock, stop_request
from pepo_rlhf.controller.stop_request import StopRequest
from pepo_rlhf.data.batches import steps_of
from pepo_rlhf.metrics import console
from pepo_rlhf.report import summary

if TYPE_CHECKING:
    from pepo_rlhf.checks.inputs import Inputs

logger = logging.getLogger("pepo_rlhf.train")  # and not __main__
_SIGINT_EXIT, _SIGTERM_EXIT = 128 + signal.SIGINT, 128 + signal.SIGTERM


def main() -> None:
    """Check, then train."""
    config = parse_arguments()
    compat.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if config.run.trust_remote_code else "0"
    with console.open_console(config.run.verbose) as library_output:
        try:
            with console.phase("checking model, data, rewards and disk"):
                inputs = check_inputs(config)
            require_unfinished(config, len(inputs.training_rows.rows))
            resume_from = open_run_folder(config)
        except ValueError as error:
            print(f"error: {error}", file=sys.__stderr__)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("interrupted before the first step", file=sys.__stderr__)
            raise SystemExit(_SIGINT_EXIT) from None
        config.run.dir = str(config.run_dir)  # Ray workers may have another working directory
        if library_output is not None:
            library_output.keep(config.logs_dir / "driver.log")
            logger.info(f"run folder {config.run.dir}; what libraries and workers print goes to its logs/")
        train(config, inputs, resume_from)


def train(config: Config, inputs: Inputs, resume_from: Path | None) -> None:
    """Connect to Ray and run, and tell ends that are nobody's programming error in one line."""
    started, problem, stop = time.monotonic(), None, StopRequest(config.run_dir)
    try:
        # Imported late: a mistake in flags or data is reported without waiting for Ray, vLLM and DeepSpeed to load.
        with console.phase("loading libraries and starting Ray"), console.all_errors_taken():
            import pepo_rlhf.controller.run  # noqa: F401
            from pepo_rlhf.controller import cluster

            try:
                cluster.connect(config)
            except ValueError as error:
                problem = error
        if problem is not None:  # told here, for inside the phase this process's errors go to a file
            print(f"error: {problem}", file=sys.__stderr__, flush=True)
            raise SystemExit(1)
        _run(config, inputs, resume_from, stop)
        logger.info(_result(config, time.monotonic() - started))
    except KeyboardInterrupt:
        num_steps, following = run_folder.num_steps_done(config.run_dir), run_folder.next_start(config)
        print(f"interrupted after step {num_steps}; {following}", file=sys.__stderr__, flush=True)
        raise SystemExit(_SIGINT_EXIT) from None
    except Exception as error:
        _explain(error, config)
        raise SystemExit(1) from None


def _run(config: Config, inputs: Inputs, resume_from: Path | None, stop: StopRequest) -> None:
    """Run on the cluster, and disconnect from it."""
    from pepo_rlhf.checks.storage import one_checkpoint_bytes
    from pepo_rlhf.controller import cluster
    from pepo_rlhf.controller.run import run
    from pepo_rlhf.controller.trainer import Stopped

    stop.listen_to_sigterm()
    try:
        rows = (inputs.training_rows, inputs.evaluation_rows)
        run(config, *rows, resume_from, one_checkpoint_bytes(inputs), stop)
    except Stopped as stopped:
        logger.info(f"stopped {stopped} ({stop.reason}); {run_folder.next_start(config)}")
        raise SystemExit(0 if stop.reason == "user" else _SIGTERM_EXIT) from None
    except SystemError as error:  # Ray waited in C when a signal handler raised
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # another Ctrl-C does not wait for the end
        cluster.disconnect()


def _explain(error: Exception, config: Config) -> None:
    """Print what has ended a run: one line and a process's last ones where they tell it, or else the traceback."""
    from pepo_rlhf.controller.failures import actor_of, explain

    explanation = explain(error, config)
    if explanation is None:
        traceback.print_exception(error, file=sys.__stderr__)
        explanation = f"the run ends; {run_folder.next_start(config)}"
    log = log_files.last_lines(config.logs_dir, actor_of(error))
    if log is not None:
        print(f"the last lines of {log[0]}:", *log[1], sep="\n  ", file=sys.__stderr__)
    print(f"error: {explanation}", file=sys.__stderr__, flush=True)


def _result(config: Config, seconds: float) -> str:
    """Return the end of a run in a few lines: its result, its model, its time and the next command."""
    rewards = [step["reward"] for step in summary.read_steps(config.run_dir)]
    first, last = summary.quarters(rewards)
    model = config.adapter_dir if config.has_adapters and not config.ckpt.save_merged else config.model_dir
    return (
        f"done after step {len(rewards)}; this command took {seconds // 60:.0f} min {seconds % 60:02.0f} s; reward "
        f"{first:.3f} in the first quarter, {last:.3f} in the last\n"
        f"  model   {model}\n  report  python -m pepo_rlhf.report {config.run.dir}"
    )


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
    from pepo_rlhf.checks.job_paths import is_submitted, require_lasting_run_folder, require_uploaded

    if is_submitted():
        require_lasting_run_folder(config)
        require_uploaded(config)
    inputs = Inputs(config)
    for name, finding in run_checks(CHEAP, inputs):
        flags = ", ".join(flag for flag in finding.flags if flag not in finding.message)
        message = f"{finding.message} (change {flags})" if flags else finding.message
        if finding.level == "error":
            raise ValueError(message)
        if finding.level == "warning":
            logger.warning(f"{name}: {message}")
    return inputs


def require_unfinished(config: Config, num_rows: int) -> None:
    """Raise ValueError if the run folder holds the model of a run that has made all steps of `num_rows` rows."""
    num_steps = steps_of(num_rows, config)
    if run_folder.has_model(config.run_dir) and run_folder.num_steps_done(config.run_dir) >= num_steps:
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
        stop_request.forget(config.run_dir)  # looking for a checkpoint takes minutes where it is large
        resume_from = checkpoint_to_resume(config)
        if resume_from is None and (aside := run_folder.set_aside(config.run_dir)) is not None:
            logger.info(f"--run.dir holds a run without a checkpoint, which is set aside in {aside}")
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
        if run_folder.has_model(run_dir):
            raise ValueError(f"--run.dir {run_dir} holds a finished run without checkpoints; choose another")
        return None
    require_own(checkpoint, run_dir)
    folders.require_same_settings(checkpoint, config)
    folders.require_same_base(checkpoint, config)
    logger.info(f"the run goes on from {checkpoint}")
    return checkpoint


def write_config(config: Config) -> None:
    """Write the resolved settings to config.yaml of the run folder. They hold no secrets: those have no flag."""
    settings = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)
    (config.run_dir / "config.yaml").write_text(settings, encoding="utf-8")


if __name__ == "__main__":
    main()

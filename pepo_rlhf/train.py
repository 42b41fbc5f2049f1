"""python -m pepo_rlhf.train --config FILE [--section.key value ...]: one training run.

Exit codes: 0 trained to the end; 1 an error; 2 a mistake in flags, data or run folder; 143 stopped by SIGTERM, with a
checkpoint if there was anything to save.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import yaml

from pepo_rlhf import compat
from pepo_rlhf.checkpoints import folders
from pepo_rlhf.checkpoints.ownership import require_own
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config import Config, parse_arguments, to_arguments
from pepo_rlhf.controller import run_lock

_SIGTERM_EXIT = 128 + signal.SIGTERM


def main() -> None:
    config = parse_arguments()
    args = to_arguments(config)
    compat.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if args.run.trust_remote_code else "0"
    try:
        check_inputs(args)
        open_run_folder(config, args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # Imported late: a mistake in flags or data is reported without waiting for Ray, vLLM and DeepSpeed to load.
    import ray

    from pepo_rlhf.compat import wiring
    from pepo_rlhf.controller import cluster, placement
    from pepo_rlhf.controller.failures import explain
    from pepo_rlhf.controller.trainer import Stopped

    wiring.apply()
    try:
        cluster.connect(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    signal.signal(signal.SIGTERM, _exit_on_sigterm)  # Ray has set a handler of its own
    try:
        placement.run(args)
    except Stopped:
        print(f"stopped by SIGTERM; the same command goes on from the checkpoint in {args.ckpt.path}", flush=True)
        raise SystemExit(_SIGTERM_EXIT) from None
    except Exception as error:
        if (explanation := explain(error, args.run.dir)) is None:
            raise
        print(f"error: {explanation}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    finally:
        ray.shutdown()


def check_inputs(args) -> None:
    """The cheap checks of pepo_rlhf.check: what is wrong with model, data or rewards costs no GPU time.

    Raises:
        ValueError: one line that names what is wrong and how to mend it.
    """
    # Imported late, as transformers comes with it.
    from pepo_rlhf.check import CHEAP, run_checks
    from pepo_rlhf.checks.inputs import Inputs

    for name, finding in run_checks(CHEAP, Inputs(args)):
        if finding.level == "error":
            raise ValueError(finding.message)
        if finding.level == "warning":
            print(f"warning: {name}: {finding.message}", file=sys.stderr)


def open_run_folder(config: Config, args) -> None:
    """Makes the run folder this process's own, writes config.yaml, and looks for the checkpoint to go on from.

    Raises:
        ValueError: if the folder cannot be used, or as `run_lock.hold` and `checkpoint_to_resume` do.
    """
    run_dir = Path(args.run.dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        run_lock.hold(run_dir)
        args.ckpt.resume_from = checkpoint_to_resume(args)
        write_config(config, run_dir)
    except OSError as error:
        raise ValueError(f"--run.dir {run_dir} cannot be used ({error}): mend that, or name another folder") from error


def checkpoint_to_resume(args) -> str | None:
    """The folder of the checkpoint that --ckpt.resume asks for; None for a run that begins.

    Raises:
        ValueError: if there is none and there must be, if the run folder holds a run that would be overwritten, or if
            the checkpoint is not the run's own or belongs to other settings.
    """
    run_dir, resume = Path(args.run.dir), args.ckpt.resume
    if resume == "never":
        if (run_dir / "metrics.jsonl").exists():
            raise ValueError(f"--run.dir {run_dir} holds a run; choose another, or continue it with --ckpt.resume auto")
        return None
    checkpoint = folders.newest_complete(Path(args.ckpt.path))
    if checkpoint is None:
        if resume == "must":
            raise ValueError(f"--ckpt.resume must finds no whole checkpoint in {args.ckpt.path}; auto begins anew")
        if Path(args.ckpt.output_dir).exists():
            raise ValueError(f"--run.dir {run_dir} holds a finished run without checkpoints; choose another")
        return None
    require_own(checkpoint, run_dir)
    folders.require_same_settings(checkpoint, args)
    print(f"the run goes on from {checkpoint}", flush=True)
    return str(checkpoint)


def write_config(config: Config, run_dir: Path) -> None:
    """Writes the resolved settings to config.yaml of the run folder. They hold no secrets: those have no flag."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), encoding="utf-8")


def _exit_on_sigterm(signum, frame) -> None:
    """Before there is anything to save: the run ends through its finally blocks."""
    raise SystemExit(_SIGTERM_EXIT)


if __name__ == "__main__":
    main()

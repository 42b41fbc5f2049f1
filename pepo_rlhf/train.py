"""python -m pepo_rlhf.train --config FILE [--section.key value ...]: one training run."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import yaml

from pepo_rlhf import runtime
from pepo_rlhf.config import Config, parse_arguments, to_arguments
from pepo_rlhf.runtime.remote_code import TRUST_REMOTE_CODE


def main() -> None:
    config = parse_arguments()
    args = to_arguments(config)
    runtime.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if args.run.trust_remote_code else "0"
    try:
        check_inputs(args)
        write_config(config, Path(args.run.dir))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    # Imported late: a mistake in flags or data is reported without waiting for Ray, vLLM and DeepSpeed to load.
    import ray

    from pepo_rlhf.pipeline import launch, wiring
    from pepo_rlhf.runtime import cluster

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: through the finally below
    wiring.apply()
    try:
        cluster.connect(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    try:
        launch.run(args)
    except launch.BlindnessError as error:
        print(f"error: {error}", file=sys.stderr)
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


def write_config(config: Config, run_dir: Path) -> None:
    """Writes the resolved settings to config.yaml of the run folder. They hold no secrets: those have no flag.

    Raises:
        ValueError: if the folder holds another run.
    """
    if (run_dir / "metrics.jsonl").exists() and not config.ckpt.load_enable:
        raise ValueError(f"--run.dir {run_dir} holds a run; choose another, or continue it with --ckpt.load_enable")
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()

"""python -m ray_jobs.submit --config FILE [--address http://HEAD:8265] [--follow] [--section.key value ...]

Submits `python -m pepo_rlhf.train --config FILE ...` to a Ray cluster's job server. With --follow, prints the job's log
and exits with 0 only if the job has succeeded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from ray.job_submission import JobStatus, JobSubmissionClient

from pepo_rlhf.checks.job_paths import relative_paths, require_lasting_run_folder
from pepo_rlhf.config import parse_arguments
from ray_jobs.package import packaged_files, require_packaged, require_size
from ray_jobs.runtime_env import runtime_env

_POLL_SECONDS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    options, flags = _parse_options(argv)
    try:
        if not options.address.startswith(("http://", "https://")):  # Ray would take it for a cluster's, and wait
            raise ValueError(f"--address {options.address} is no job server's: write http://HEAD:8265")
        entrypoint = train_command(options.config, options.working_dir, flags)
        # Ray stores and shows the entrypoint: what train refuses, as it does secrets, must not get there. The rules
        # between settings are left to train, as they look at the machine that it runs on.
        config = parse_arguments([*_config_flags(options.config), *flags], validated=False)
        require_lasting_run_folder(config)
        files = packaged_files(options.working_dir)
        configs = [("--config", path.absolute()) for path in options.config]
        require_packaged([*configs, *relative_paths(config, options.working_dir)], options.working_dir, files)
        require_size(files)
        environment = runtime_env(options.working_dir, dict(options.env), options.install)
        client = JobSubmissionClient(options.address)
        job = client.submit_job(entrypoint=entrypoint, runtime_env=environment)
    except (ConnectionError, RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    address = f"--address {options.address}"
    print(f"submitted {job}\n  log   ray job logs {address} --follow {job}\n  stop  ray job stop {address} {job}")
    if not options.follow:
        return 0
    try:
        status = follow(client, job)
    except ConnectionError as error:
        print(f"error: the job server is gone: {error}", file=sys.stderr)
        return 1
    print(f"{job} has ended: {status.value}")
    return int(status != JobStatus.SUCCEEDED)


def _parse_options(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m ray_jobs.submit",
        description="Submits a training run to a Ray cluster.",
        epilog="All other flags go to pepo_rlhf.train.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        required=True,
        help="YAML file of settings, below the working directory; of several, later ones override earlier ones",
    )
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265"),
        help="job server (default: RAY_API_SERVER_ADDRESS, or port 8265 of this machine)",
    )
    parser.add_argument("--follow", action="store_true", help="print the log, and exit as the job does")
    parser.add_argument("--working-dir", type=Path, default=Path.cwd(), help="folder to send (default: this one)")
    parser.add_argument("--env", type=_variable, action="append", default=[], metavar="NAME=VALUE", help="for the job")
    parser.add_argument("--install", action="store_true", help="install the light pinned packages that the image lacks")
    return parser.parse_known_args(argv)


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def train_command(configs: Sequence[Path], working_dir: Path, flags: Sequence[str]) -> str:
    """Return the entrypoint, which the job server runs in a shell, in its copy of the working directory."""
    for config in configs:
        if not config.is_file():
            raise ValueError(f"--config {config}: no such file")
        if not config.resolve().is_relative_to(working_dir.resolve()):
            raise ValueError(f"--config {config} lies outside --working-dir {working_dir}")
    relative = [config.resolve().relative_to(working_dir.resolve()) for config in configs]
    return shlex.join(["python", "-m", "pepo_rlhf.train", *_config_flags(relative), *flags])


def _config_flags(configs: Sequence[Path]) -> list[str]:
    return [word for config in configs for word in ("--config", str(config))]


def follow(client: JobSubmissionClient, job: str) -> JobStatus:
    """Print the job's log and return how it ended. The log may stop early; only the status says that the job has."""
    asyncio.run(_print_log(client, job))
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(_POLL_SECONDS)
    return status


async def _print_log(client: JobSubmissionClient, job: str) -> None:
    try:
        async for lines in client.tail_job_logs(job):
            print(lines, end="", flush=True)
    except (aiohttp.ClientError, RuntimeError) as error:
        print(f"the log has stopped, the job has not: {error}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())

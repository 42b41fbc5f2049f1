"""python -m pepo_rlhf.check --config FILE [--section.key value ...] [--cluster ADDRESS] [--manifest DIR]

Prints what can be known of a run before GPUs are reserved, as a table of ok, warning and error with the flags to
change. Exit status 1 if there is an error.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pepo_rlhf import compat
from pepo_rlhf.checks import (
    memory,
    model,
    placement,
    prompts,
    rewards,
    settings,
    storage,
    versions,
    vision_check,
    weighting,
)
from pepo_rlhf.checks.finding import Finding, error
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.checks.manifests import manifest
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.config.ranges import ABOVE_0, argument

Check = Callable[[Inputs], Iterable[Finding]]

_RUN_FOLDER: tuple[str, Check] = ("run.dir", storage.check_run_folder)
# What a run does for itself before it starts Ray.
CHEAP: tuple[tuple[str, Check], ...] = (
    _RUN_FOLDER,
    ("weighting", weighting.check_weighting),
    ("model", model.check_model),
    ("adapters", model.check_adapters),
    ("data", prompts.check_rows),
    ("rewards", rewards.check_functions),
    ("rewards", rewards.check_call),
    ("disk", storage.check_disk),
    ("/dev/shm", storage.check_shared_memory),
    ("versions", lambda inputs: versions.check_versions()),
    ("compiler", lambda inputs: versions.check_compilations()),
)
THOROUGH: tuple[tuple[str, Check], ...] = (
    ("placement", lambda inputs: placement.check_arithmetic(inputs.config)),
    *CHEAP,
    ("model", model.check_class),
    ("tokenizer", model.check_tokenizer),
    ("rewards", rewards.check_answers),
    ("vision", vision_check.check_model_sees),
)


def main() -> int:
    options, flags = _parse_options()
    config = parse_arguments(flags, validated=False)
    compat.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if config.run.trust_remote_code else "0"
    num_errors = 0
    for name, finding in find_all(config, options):
        num_errors += finding.level == "error"
        print(f"{finding.level:8} {name:10} {finding.message}", flush=True)
        if finding.flags and finding.level != "ok":
            print(f"{'':19} change: {', '.join(finding.flags)}")
    print(f"{num_errors or 'no'} {'error' if num_errors == 1 else 'errors'}")
    return int(num_errors > 0)


def _parse_options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.check",
        description="Checks a run before GPUs are reserved.",
        epilog="All other flags are those of pepo_rlhf.train; see its --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--cluster", metavar="ADDRESS", help="Ray cluster to ask for its nodes; auto finds a local one")
    parser.add_argument(
        "--gpu_memory", metavar="GIB", type=argument(float, ABOVE_0), help="estimate the run's memory for such cards"
    )
    parser.add_argument("--manifest", metavar="DIR", type=Path, help="kustomize folder, or YAML file, that runs it")
    parser.add_argument("--vision_check", action="store_true", help="start the workers and make their vision check")
    return parser.parse_known_args()


def find_all(config: Config, options: argparse.Namespace) -> Iterator[tuple[str, Finding]]:
    """Findings under the name of their check. Broken settings end it: everything else rests on them."""
    broken = False
    for finding in settings.check_settings(config, on_this_machine=options.manifest is None):
        broken = broken or finding.level == "error"
        yield "settings", finding
    if broken:
        return
    inputs = Inputs(config)
    checks = list(THOROUGH)
    if options.cluster:
        checks.append(("cluster", lambda inputs: placement.check_cluster(inputs.config, options.cluster)))
    elif not (options.manifest or os.environ.get("RAY_ADDRESS")):
        checks.append(("machine", lambda inputs: placement.check_machine(inputs.config)))
        checks.append(("compiler", lambda inputs: versions.check_compiler()))
    if options.gpu_memory:
        checks.append(("memory", lambda inputs: memory.check_memory(inputs, options.gpu_memory)))
    if options.manifest:
        checks.remove(_RUN_FOLDER)  # it is on a volume of the pods
        checks.append(("manifest", lambda inputs: manifest.check_manifest(inputs, options.manifest)))
    if options.vision_check:
        checks.append(("workers", vision_check.check_workers_see))
    yield from run_checks(checks, inputs)


def run_checks(checks: Iterable[tuple[str, Check]], inputs: Inputs) -> Iterator[tuple[str, Finding]]:
    """Findings of each check, its ValueError among them; what two checks stumble over is told once."""
    told = set()
    for name, check in checks:
        for finding in _findings(check, inputs):
            if finding not in told:
                told.add(finding)
                yield name, finding


def _findings(check: Check, inputs: Inputs) -> Iterator[Finding]:
    try:
        yield from check(inputs)
    except ValueError as problem:
        yield error(str(problem))


if __name__ == "__main__":
    raise SystemExit(main())

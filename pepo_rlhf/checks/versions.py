"""Compare installed packages with the pins of setup.py, and look for the compiler that they need."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pepo_rlhf.checks.finding import Finding, error, ok, warning

_EXTRAS = ("", "cpu", "gpu", "flash")


def pins() -> dict[str, Requirement]:
    """Return every pinned requirement of setup.py by its package, with those of the extras cpu, gpu and flash.

    Raises:
        ValueError: if pepo_rlhf runs from a folder without being installed.
    """
    try:
        texts = metadata.requires("pepo-rlhf") or []
    except metadata.PackageNotFoundError as problem:
        raise ValueError("pepo_rlhf is not installed, so its pins are unknown: pip install -e .") from problem
    found = {}
    for text in texts:
        requirement = Requirement(text)
        wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": name}) for name in _EXTRAS)
        if wanted and str(requirement.specifier).startswith("=="):
            found[requirement.name] = requirement
    return found


def pinned_version(package: str) -> str:
    """Return the version that setup.py pins a package to."""
    return str(pins()[package].specifier).removeprefix("==")


def check_versions() -> Iterator[Finding]:
    """Yield which packages are missing or of another version; those of the extras may be missing."""
    try:
        pinned = pins()
    except ValueError as problem:  # as in a job that brings the package along in its working directory
        yield warning(str(problem))
        return
    num_right = 0
    for name, requirement in pinned.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            if requirement.marker is None:
                yield error(f"{requirement} is not installed: pip install '{requirement}'")
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            num_right += 1
        else:
            yield warning(f"{name} {installed} is installed, {requirement} is what this package is tested with")
    yield ok(f"{num_right} packages as pinned")


def check_compiler() -> Iterator[Finding]:
    """Yield whether this machine has the compiler that torch and DeepSpeed use."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))[0]
    if path := shutil.which(compiler):
        yield ok(f"compiler: {path}")
    else:
        yield error(
            f"{compiler} is not there, which torch and DeepSpeed compile with: install g++, or set CXX to another"
        )


def check_compilations() -> Iterator[Finding]:
    """Yield a warning for each lock in torch's folder of compiled extensions: it waits for its end, however long."""
    from torch.utils.cpp_extension import get_default_build_root

    folder = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    for lock in sorted(folder.glob("**/lock")):
        yield warning(
            f"{lock}: a process compiles there, or was killed while it did, and a run waits for it: remove this file "
            "if nothing else is running"
        )

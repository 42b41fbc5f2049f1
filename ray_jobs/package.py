"""What of the working directory a job gets, and whether the files that its flags name are among it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE
from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

from pepo_rlhf.checks.job_paths import EXCLUDES

_NUM_NAMED = 3
_MIB = 2**20


def packaged_files(working_dir: Path) -> dict[Path, int]:
    """Return the size in bytes of each file that Ray uploads, without those that .gitignore and .rayignore name."""
    files: list[Path] = []
    root = working_dir.resolve()
    excludes = [_get_excludes(root, list(EXCLUDES))]
    _dir_travel(root, excludes, files.append, include_gitignore=True)
    return {path: path.stat().st_size for path in files if path.is_file()}


def require_size(files: dict[Path, int]) -> None:
    """Raise ValueError if the job server would refuse a package of these files."""
    if (size := sum(files.values())) < DASHBOARD_CLIENT_MAX_SIZE:
        return
    largest = sorted(files, key=lambda path: -files[path])[:_NUM_NAMED]
    named = ", ".join(f"{path} ({files[path] / _MIB:.0f} MiB)" for path in largest)
    raise ValueError(
        f"the working directory has {size / _MIB:.0f} MiB to upload, and a job server takes "
        f"{DASHBOARD_CLIENT_MAX_SIZE // _MIB}; the largest files are {named}: leave them out by a line in .rayignore"
    )


def require_packaged(named: Iterable[tuple[str, Path]], working_dir: Path, files: Collection[Path]) -> None:
    """Raise ValueError for a relative path that the job would not find; named: flag and path of each.

    A folder is in the package if one of its files is.
    """
    root = working_dir.resolve()
    folders = {parent for path in files for parent in path.parents}
    for flag, path in named:
        place = (root / path).resolve()
        if place in files or place in folders:
            continue
        if not place.is_relative_to(root):
            problem = f"lies outside --working-dir {working_dir}"
        elif place.exists():
            problem = "is left out of the upload"
        else:
            problem = f"is not there, below {root}"
        raise ValueError(
            f"{flag} {path} {problem}; move it, or put it on storage that the nodes share and name it by its whole path"
        )

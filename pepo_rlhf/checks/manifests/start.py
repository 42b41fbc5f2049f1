"""The run that a manifest starts: its entrypoint's flags, with the files that ConfigMaps put into the head's pod."""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.manifests.deployment import Deployment
from pepo_rlhf.config import Config, ConfigError
from pepo_rlhf.config.parser import read_settings
from pepo_rlhf.report.runs import differing_settings, flat_settings

_STARTS = (["python", "-m", "pepo_rlhf.train"], ["python3", "-m", "pepo_rlhf.train"], ["pepo", "train"])
_OPERATORS = "();<>|&\n"
_EXPANDED = re.compile(r"[$`]|^#")  # by a shell
_HOW_TO_START = (
    "write one command without a shell's operators or variables, `python -m pepo_rlhf.train FLAGS` or `pepo train "
    "FLAGS`; bake installs into the image, give the working directory as working_dir and variables as env_vars of "
    "runtimeEnvYAML"
)


def check_start(config: Config, deployment: Deployment) -> Iterator[Finding]:
    """Yield an error if a RayJob starts another run than `config`, or none.

    A RayCluster waits for jobs: a configuration that it offers in a ConfigMap is a warning if it differs.
    """
    files, is_job = mounted_files(deployment), deployment.kind == "RayJob"
    sources = {"spec.entrypoint": deployment.entrypoint} if is_job else {}
    if not is_job:
        offered = [path for path in files if path.endswith((".yaml", ".yml"))]
        sources = {f"the configuration at {path}": shlex.join([*_STARTS[0], "--config", path]) for path in offered}
    for source, command in sources.items():
        try:
            started = _parse(entrypoint_flags(command), files)
        except ValueError as problem:
            yield error(f"{source}: {problem}")
            continue
        ours, theirs = (flat_settings(dataclasses.asdict(settings)) for settings in (config, started))
        if different := sorted(f"--{flag}" for flag, *_ in differing_settings(ours, theirs)):
            differs = f"{source} differs from the settings that are checked in {', '.join(different)}"
            yield error(f"{differs}: give both the same") if is_job else warning(differs)
        else:
            yield ok(f"{source} starts the settings that are checked")


def entrypoint_flags(entrypoint: str) -> list[str]:
    """Return the flags that an entrypoint gives to pepo_rlhf.train, with --config and its file as two words.

    Raises:
        ValueError: unless the entrypoint is that one command, which a shell leaves as it is.
    """
    # Ray hands the entrypoint to a shell, so that operators and variables would mean there what they mean in a shell.
    lexer = shlex.shlex(entrypoint.strip().replace("\\\n", " "), posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    try:
        words = list(lexer)
    except ValueError as problem:  # a quote that is not closed
        raise ValueError(f"it is no command ({problem}): {_HOW_TO_START}") from problem
    if foreign := next((word for word in words if not set(word) - set(_OPERATORS) or _EXPANDED.search(word)), None):
        raise ValueError(f"{foreign!r} is for a shell: {_HOW_TO_START}")
    start = next((start for start in _STARTS if words[: len(start)] == start), None)
    if start is None:
        # A variable is named without its value, which may be secret.
        raise ValueError(f"it begins with {''.join(words[:1]).partition('=')[0]!r}: {_HOW_TO_START}")
    flags = [word.split("=", 1) if word.startswith("--config=") else [word] for word in words[len(start) :]]
    return sum(flags, [])


def mounted_files(deployment: Deployment) -> dict[str, str]:
    """Return the texts of the ConfigMaps that the head's Ray container mounts, by the path of each file."""
    files: dict[str, str] = {}
    for path, mount in deployment.pods[0].mounts.items():
        texts = deployment.config_maps.get(mount.config_map.get("name", ""), {})
        if items := mount.config_map.get("items"):
            texts = {item["path"]: texts[item["key"]] for item in items if item["key"] in texts}
        if mount.sub_path:
            texts = {"": texts[mount.sub_path]} if mount.sub_path in texts else {}
        files |= {str(PurePosixPath(path, name)): text for name, text in texts.items()}
    return files


def _parse(flags: list[str], files: dict[str, str]) -> Config:
    """Return the settings that flags give, with the mounted files behind --config."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        local = list(flags)
        for index, path in enumerate(flags[1:], start=1):
            if flags[index - 1] != "--config":
                continue
            if path not in files:
                raise ValueError(
                    f"--config {path} is not among the files that ConfigMaps put into the head's pod "
                    f"({', '.join(files) or 'none'}): mend the path, the mount or the ConfigMap"
                )
            local[index] = str(Path(folder, PurePosixPath(path).name))
            Path(local[index]).write_text(files[path], encoding="utf-8")
        try:
            return read_settings(local)
        except SystemExit:
            raise ValueError("it starts no run: a flag has it print something and end") from None
        except ConfigError as problem:
            raise ValueError(f"it starts no run: {problem}".replace(f"{folder}/", "")) from problem

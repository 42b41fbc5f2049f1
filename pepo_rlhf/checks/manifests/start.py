"""The run that a manifest starts: its entrypoint's flags, with the files that ConfigMaps put into the head's pod."""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path, PurePosixPath

from pepo_rlhf.checks.finding import Finding, ok, warning
from pepo_rlhf.checks.manifests.parts import Resource, cluster_spec, container_of, find
from pepo_rlhf.checks.manifests.volumes import volumes_of
from pepo_rlhf.checks.settings import broken_rules
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.config.secret_names import looks_secret
from pepo_rlhf.report.runs import differing_settings, flat_settings

_COMMAND = "python -m pepo_rlhf.train --config FILE"
_ASSIGNED = re.compile(r"\b(\w+)=\S+")
_SHELL = re.compile(r"^[|&;<>]|^\d>|;$")  # a word that is a shell's, or ends a command of it


def started_configs(cluster: Resource, resources: list[Resource]) -> Iterator[Config]:
    """Settings of the run that a RayJob starts; for a cluster that waits for jobs, of each file that it offers.

    Raises:
        ValueError: if no run would start, in one line that says how to mend it.
    """
    files = mounted_files(cluster_spec(cluster)["headGroupSpec"], resources)
    spec = cluster["spec"]
    if cluster["kind"] == "RayJob" and spec.get("submissionMode") != "InteractiveMode":
        yield _parse(entrypoint_flags(spec.get("entrypoint", "")), files, "spec.entrypoint")
        return
    for path in files:
        if path.endswith((".yaml", ".yml")):
            yield _parse(["--config", path], files, f"the configuration at {path}")


def entrypoint_flags(entrypoint: str) -> list[str]:
    """Flags that an entrypoint gives to pepo_rlhf.train, --config and its file as two words."""
    command = entrypoint.strip().replace("\\\n", " ")
    if "\n" in command:
        raise ValueError(f"spec.entrypoint {_shown(entrypoint)} is a command a line: write {_COMMAND} on one line")
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise ValueError(
            f"spec.entrypoint {_shown(entrypoint)} is no command ({problem}): write {_COMMAND}"
        ) from problem
    for index in range(1, len(words) - 1):
        if words[index : index + 2] == ["-m", "pepo_rlhf.train"]:
            if after := next((word for word in words[index + 2 :] if _SHELL.search(word)), None):
                raise ValueError(
                    f"spec.entrypoint: {after!r} after the flags of pepo_rlhf.train may hide how the run ends, which "
                    "retries depend on: end with the flags"
                )
            flags = [word.split("=", 1) if word.startswith("--config=") else [word] for word in words[index + 2 :]]
            return sum(flags, [])
    raise ValueError(f"spec.entrypoint {_shown(entrypoint)} does not start pepo_rlhf.train: write {_COMMAND}")


def _shown(entrypoint: str) -> str:
    """On one line, without the values of secrets."""
    return repr(_ASSIGNED.sub(lambda found: f"{found[1]}=***" if looks_secret(found[1]) else found[0], entrypoint))


def mounted_files(group: Resource, resources: list[Resource]) -> dict[str, str]:
    """Texts of the ConfigMaps that the Ray container mounts, by the path of each file."""
    maps, volumes = find(resources, "ConfigMap"), volumes_of(group)
    files: dict[str, str] = {}
    for mount in container_of(group).get("volumeMounts", []):
        source = volumes.get(mount["name"], {}).get("configMap", {})
        texts = maps.get(source.get("name"), {}).get("data", {})
        if items := source.get("items"):
            texts = {item["path"]: texts[item["key"]] for item in items if item["key"] in texts}
        if only := mount.get("subPath"):
            texts = {"": texts[only]} if only in texts else {}
        files |= {str(PurePosixPath(mount["mountPath"], path)): text for path, text in texts.items()}
    return files


def _parse(flags: list[str], files: dict[str, str], source: str) -> Config:
    """Settings that flags give, with the mounted files behind --config."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(said), redirect_stdout(io.StringIO()):
        local = list(flags)
        for index, path in enumerate(flags[1:], start=1):
            if flags[index - 1] != "--config":
                continue
            if path not in files:
                raise ValueError(
                    f"{source}: --config {path} is not among the files that ConfigMaps put into the head's pod "
                    f"({', '.join(files) or 'none'}): mend the path, the mount or the ConfigMap"
                )
            local[index] = str(Path(folder, PurePosixPath(path).name))
            Path(local[index]).write_text(files[path], encoding="utf-8")
        try:
            config = parse_arguments(local, validated=False)
        except SystemExit:
            reason = said.getvalue().strip().removeprefix("error: ").replace(f"{folder}/", "")
            reason = reason or "a flag has it print something and end"
            raise ValueError(f"{source} starts no run: {reason}") from None
        except (ValueError, RecursionError) as problem:  # a date that there is not; YAML nested too deeply
            raise ValueError(f"{source} starts no run: --config: {problem}") from problem
    for broken in broken_rules(config, on_this_machine=False):
        raise ValueError(f"{source} starts no run: {broken}")
    return config


def compare(config: Config, started: Config) -> Finding:
    """Whether the run that is started is the one that is checked."""
    ours, theirs = (flat_settings(dataclasses.asdict(settings)) for settings in (config, started))
    different = sorted(f"--{flag}" for flag, *_ in differing_settings(ours, theirs))
    if different:
        return warning(
            f"what entrypoint and ConfigMap start differs from the settings checked in {', '.join(different)}"
        )
    return ok("entrypoint and ConfigMap start the settings that are checked")

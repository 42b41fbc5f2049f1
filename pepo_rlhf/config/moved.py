"""Settings that have another name now. The former name is understood on the command line and in files."""

from __future__ import annotations

from typing import Any

# former name -> name
MOVED = {
    "pepo.blindness_check": "run.vision_check",
    "pepo.alpha": "pepo.settings.alpha",
    "pepo.temperature": "pepo.settings.temperature",
    "pepo.top_fraction": "pepo.settings.top_fraction",
}


def rename_flag(word: str) -> str:
    """Return a word of the command line with the former name of a flag replaced, `--name` and `--name=value` alike."""
    flag, equals, value = word.partition("=")
    return f"--{MOVED[flag[2:]]}{equals}{value}" if flag.startswith("--") and flag[2:] in MOVED else word


def rename_keys(settings: Any) -> Any:
    """Return the content of a configuration file with former names replaced.

    Raises:
        ValueError: if a file gives a setting under both names.
    """
    for former, name in MOVED.items():
        *sections, key = former.split(".")
        section = _section(settings, sections)
        if section is None or key not in section:
            continue
        *sections, new_key = name.split(".")
        target = settings
        for part in sections:
            target = target.setdefault(part, {})
        if not isinstance(target, dict) or new_key in target:
            raise ValueError(f"--{former} is called --{name} now, and the file has both: keep the latter")
        target[new_key] = section.pop(key)
    return settings


def _section(settings: Any, names: list[str]) -> dict[str, Any] | None:
    for name in names:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings if isinstance(settings, dict) else None

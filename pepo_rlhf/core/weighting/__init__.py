"""Token weightings, one a file: NAME.py is what --pepo.method NAME chooses, and no other file lists it.

No torch is imported to load a weighting of this folder, so that a wrong setting is told before anything starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from pepo_rlhf.core import signals
from pepo_rlhf.core.token_weighting import TokenWeighting
from pepo_rlhf.core.user_file import load_file

_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
BUILT_IN = tuple(sorted(module.name for module in iter_modules(__path__)))


def load_weighting(method: str, settings: Mapping[str, Any]) -> TokenWeighting:
    """Return the weighting that --pepo.method names, with --pepo.settings.

    Settings of other weightings of this folder are left out: configurations are stacked, and `foreign_settings` says
    which ones those are.

    Args:
        method: a name in BUILT_IN, or path/to/file.py:ClassName.
        settings: values by name; those that are missing have their defaults.

    Raises:
        ValueError: in one line, if there is no such weighting, for a signal that does not exist, or for a setting that
            it does not have or take.
    """
    weighting = weighting_class(method)
    known = (*signals.BUILT_IN, *weighting.response_signals)
    if unknown := [name for name in weighting.signals if name not in known]:
        raise ValueError(f"--pepo.method {method} needs the signal {unknown[0]!r}; there are {', '.join(known)}")
    return weighting(weighting.Settings(**own_settings(method, settings)))


def own_settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the settings that the weighting has; their ranges are not looked at.

    Raises:
        ValueError: in one line, if there is no such weighting, for a setting that no weighting has, and for a value
            of another type than the default's.
    """
    known = {field.name: field for field in fields(weighting_class(method).Settings)}
    foreign = foreign_settings(method, settings)
    for name, value in settings.items():
        if name not in known and name not in foreign:
            names = ", ".join(f"--pepo.settings.{name}" for name in known) or "none"
            raise ValueError(f"--pepo.settings.{name} is no setting of --pepo.method {method}, which has {names}")
        if name in known:
            _require_type(name, value, type(known[name].default))
    return {name: value for name, value in settings.items() if name in known}


def foreign_settings(method: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the names in `settings` that other weightings of this folder have and `method` does not."""
    own = {field.name for field in fields(weighting_class(method).Settings)}
    others = {field.name for name in BUILT_IN for field in fields(weighting_class(name).Settings)}
    return [name for name in settings if name in others - own]


def weighting_class(method: str) -> type[TokenWeighting]:
    """Return the class that --pepo.method names; a file outside the package is run once a process.

    Raises:
        ValueError: in one line, if there is none. What a user's file raises when it is run becomes one too.
    """
    if method in BUILT_IN:
        return next(_weightings_of(import_module(f"{__name__}.{method}")))
    path, _, name = method.rpartition(":")
    if not path.endswith(".py"):
        choices = f"{', '.join(BUILT_IN)}, or path/to/file.py:ClassName"
        raise ValueError(f"--pepo.method {method!r} is unknown: choose one of {choices}")
    classes = {weighting.__name__: weighting for weighting in _weightings_of(_run_file(Path(path).absolute()))}
    if name not in classes:
        found = ", ".join(classes) or "none"
        raise ValueError(f"--pepo.method {method}: the file defines no TokenWeighting {name!r}; it has {found}")
    return classes[name]


def _weightings_of(module: ModuleType) -> Iterator[type[TokenWeighting]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, TokenWeighting) and value.__module__ == module.__name__:
            yield value


@cache
def _run_file(path: Path) -> ModuleType:
    try:
        return load_file(f"weighting:{path}", path)
    except (Exception, SystemExit) as error:
        raise ValueError(f"--pepo.method {path} cannot be read: {type(error).__name__}: {error}") from error


def _require_type(name: str, value: Any, expected: type) -> None:
    """Raise ValueError unless the value is of the default's type; types that no flag can give are not checked."""
    if expected not in _KINDS:
        return
    accepted = (int, float) if expected is float else expected
    if not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool):
        raise ValueError(f"--pepo.settings.{name} must be {_KINDS[expected]}, not {value!r}")
    if isinstance(value, float) and not float("-inf") < value < float("inf"):
        raise ValueError(f"--pepo.settings.{name} must be finite, not {value}")

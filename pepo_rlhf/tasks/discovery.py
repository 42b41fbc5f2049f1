"""Find tasks and their verifiers: every folder of pepo_rlhf/tasks, pepo_rlhf/toy, and folders outside the repository.

The `__init__.py` of such a folder holds any number of Tasks, and VERIFIERS, which maps the name of a verifier to a
function of response and label, if the family has verifiers of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

import pepo_rlhf.tasks
from pepo_rlhf.core.user_file import load_file
from pepo_rlhf.tasks.task import Task

Verifier = Callable[[str, str], float]


@cache
def all_tasks() -> dict[str, Task]:
    """Return every task of this package by its name."""
    return {task.name: task for family in _families() for task in vars(family).values() if isinstance(task, Task)}


def family_verifiers() -> dict[str, Verifier]:
    """Return the verifiers of every task family of this package by their names."""
    return {name: verifier for family in _families() for name, verifier in verifiers_of(family).items()}


def verifiers_of(family: ModuleType) -> dict[str, Verifier]:
    """Return the verifiers of one family's own."""
    return getattr(family, "VERIFIERS", {})


def find_task(name_or_path: str) -> Task:
    """Return the task of a name, or the one that "path/to/folder:Task" names.

    Raises:
        ValueError: with every name if there is no such task, and for a folder that is missing or has no such Task.
    """
    if task := all_tasks().get(name_or_path):
        return task
    folder, colon, attribute = name_or_path.rpartition(":")
    if not colon:
        names = ", ".join(sorted(all_tasks()))
        raise ValueError(f"unknown task {name_or_path!r}; choose one of {names}, or name path/to/folder:Task")
    task = getattr(load_family(folder), attribute, None)
    if not isinstance(task, Task):
        raise ValueError(f"task {name_or_path!r}: {Path(folder, '__init__.py')} has no Task called {attribute!r}")
    return task


def reward_names(name_or_path: str) -> list[str]:
    """Return what --reward.functions is by default for a task: `format`, then the task's verifiers.

    A verifier of a folder outside this package is named "path/to/folder:verifier".
    """
    task, folder = find_task(name_or_path), name_or_path.rpartition(":")[0]
    own = verifiers_of(load_family(folder)) if folder else {}
    return ["format", *(f"{folder}:{name}" if name in own else name for name in task.verifiers)]


def display_metric(components: Iterable[str], task: str | None = None) -> str:
    """Return the reward component that a run is judged by.

    Args:
        components: names of the run's reward components, in their order (`Reward.components`, or the names of
            --reward.functions by `component_name`).
        task: --data.task.
    """
    names = list(components)
    if task and (score := find_task(task).score) in names:
        return score
    scores = {known.score for known in all_tasks().values()}
    ordered = [name for name in names if name in scores] + [name for name in names if name != "format"] + names
    return ordered[0]


def load_family(folder: str) -> ModuleType:
    """Return the package in a folder outside this one, as it was when it was first loaded.

    Raises:
        ValueError: if there is no such package. What its code raises when it is run is passed on.
    """
    path = Path(folder).absolute()
    if not (path / "__init__.py").is_file():
        raise ValueError(f"{folder!r} is no folder of a task, which holds an __init__.py with a Task in it")
    # Its own modules are found by the name of the package, which is therefore loaded once.
    name = f"task:{path}"
    return sys.modules.get(name) or load_file(name, path / "__init__.py", [str(path)])


@cache
def _families() -> list[ModuleType]:
    folders = [folder.name for folder in pkgutil.iter_modules(pepo_rlhf.tasks.__path__) if folder.ispkg]
    return [importlib.import_module(f"pepo_rlhf.{name}") for name in [*(f"tasks.{name}" for name in folders), "toy"]]

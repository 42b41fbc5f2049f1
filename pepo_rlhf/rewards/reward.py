"""The reward of a response: named components, each a function (response, label) -> float.

A component is built in (see `built_in`), a user's function "path/to/file.py:function", or a verifier of a task outside
this package, "path/to/folder:verifier".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsFloat

from pepo_rlhf.core.user_file import load_file
from pepo_rlhf.rewards.accuracy import accuracy_reward
from pepo_rlhf.rewards.authors import accuracy_mathruler, format_pairs
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.tasks.discovery import family_verifiers, load_family, verifiers_of

Component = Callable[[str, str], float]

_OR_A_FILE = " or path/to/file.py:function"


class RewardError(ValueError):
    """Reward functions that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Reward:
    """All components of a run, by their names."""

    components: Mapping[str, Component]

    def __call__(self, response: str, label: str) -> dict[str, float]:
        """Return the value of each component by name.

        Raise ValueError when a component returns anything but a finite number. An exception of a component is passed on
        with a note that names the component.
        """
        return {name: _score(name, component, response, label) for name, component in self.components.items()}


def built_in() -> dict[str, Component]:
    """Return the components that have a name of their own: those of any task, and those of the task families."""
    from pepo_rlhf.rewards.answer import answer_reward  # it imports a family of tasks, which imports this package

    own = {"accuracy": accuracy_reward, "answer": answer_reward, "format": format_reward}
    return own | {"accuracy_mathruler": accuracy_mathruler, "format_pairs": format_pairs} | family_verifiers()


def component_name(function: str) -> str:
    """Return the component that a function of --reward.functions makes: "shortness" of "path/to/file.py:shortness"."""
    return function.rpartition(":")[2]


def load_rewards(functions: Sequence[str]) -> Reward:
    """Return the reward that the named functions make.

    Raise RewardError for no name, an unknown name, a missing file or function, or two components of one name. What a
    user's file raises when it is run is passed on.
    """
    if not functions:
        raise RewardError(f"no reward is named; choose from {', '.join(sorted(built_in()))}{_OR_A_FILE}")
    components: dict[str, Component] = {}
    for function in functions:
        name = component_name(function)
        if name in components:
            raise RewardError(f"two rewards are called {name!r}; rename the function or drop one of {functions}")
        components[name] = _load_function(function) if ":" in function else _find(function, built_in())
    return Reward(components)


def _score(name: str, component: Component, response: str, label: str) -> float:
    try:
        value = component(response, label)
        # Numbers of NumPy and torch too, which are no Real, but no text and no array.
        is_scalar = isinstance(value, SupportsFloat) and getattr(value, "ndim", 0) == 0
        if not is_scalar or not math.isfinite(number := float(value)):
            raise ValueError(f"{value!r} is not a finite number")
    except (Exception, SystemExit) as error:
        error.add_note(f"raised by the reward component {name!r}")
        raise
    return number


def _find(name: str, components: Mapping[str, Component]) -> Component:
    if name not in components:
        raise RewardError(f"unknown reward {name!r}; choose from {', '.join(sorted(components))}{_OR_A_FILE}")
    return components[name]


def _load_function(name: str) -> Component:
    path_text, _, function_name = name.rpartition(":")
    path = Path(path_text)
    if (path / "__init__.py").is_file():
        return _find(function_name, verifiers_of(load_family(path_text)))
    if path.suffix != ".py" or not path.is_file():
        raise RewardError(f"reward {name!r}: there is no Python file {path.absolute()}; write path/to/file.py:function")
    function = getattr(load_file(f"reward:{path.absolute()}", path), function_name, None)
    if not callable(function):
        problem = "has no function" if function is None else "has something that is not a function called"
        raise RewardError(
            f"reward {name!r}: {path} {problem} {function_name!r}; define {function_name}(response, label)"
        )
    return function

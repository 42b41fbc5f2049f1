"""The reward of a response: named components, each a function (response, label) -> float.

A component is built in ("format", "accuracy") or a function of the user's, named "path/to/file.py:function".
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Real
from pathlib import Path

from pepo_rlhf.rewards.accuracy import accuracy_reward
from pepo_rlhf.rewards.format import format_reward

Component = Callable[[str, str], float]

BUILT_IN: dict[str, Component] = {"accuracy": accuracy_reward, "format": format_reward}


def load_rewards(names: Sequence[str]) -> Reward:
    """Reward made of the named components, each of them loaded once here so that a mistake shows at once.

    Raises ValueError for no name, an unknown name, a missing file or function, or two components of one name. What a
    user's file raises when it is run is passed on.
    """
    _load_components(tuple(names))
    return Reward(tuple(names))


@dataclass(frozen=True)
class Reward:
    """Calls every component. It holds names only, so it pickles; a worker loads the functions at its first call."""

    names: tuple[str, ...]

    def __call__(self, response: str, label: str) -> dict[str, float]:
        """Value of each component by name.

        An exception of a component is passed on with a note that names the component and shows the response.
        Raises ValueError when a component returns anything but a finite number.
        """
        return {
            name: _score(name, component, response, label) for name, component in _load_components(self.names).items()
        }

    @staticmethod
    def total(components: Mapping[str, float]) -> float:
        """The scalar reward: the sum of the components."""
        return sum(components.values())


def _score(name: str, component: Component, response: str, label: str) -> float:
    shown = response if len(response) <= 200 else f"{response[:200]}..."
    try:
        value = component(response, label)
    except Exception as error:
        error.add_note(f"raised by the reward component {name!r} for label {label!r} and response {shown!r}")
        raise
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"reward component {name!r} returned {value!r}, not a finite number, for response {shown!r}")
    return float(value)


@cache
def _load_components(names: tuple[str, ...]) -> dict[str, Component]:
    if not names:
        raise ValueError(f"no reward is named; choose from {_choices()}")
    components: dict[str, Component] = {}
    for name in names:
        component_name = name.rpartition(":")[2]
        if component_name in components:
            raise ValueError(f"two rewards are called {component_name!r}; rename the function or drop one of {names}")
        components[component_name] = _load_function(name) if ":" in name else _find_built_in(name)
    return components


def _find_built_in(name: str) -> Component:
    if name not in BUILT_IN:
        raise ValueError(f"unknown reward {name!r}; choose from {_choices()}")
    return BUILT_IN[name]


def _choices() -> str:
    return f"{', '.join(sorted(BUILT_IN))} or path/to/file.py:function"


def _load_function(name: str) -> Component:
    path_text, _, function_name = name.rpartition(":")
    path = Path(path_text)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"reward {name!r}: there is no Python file {path.absolute()}; write path/to/file.py:function")
    # A name that no importable module can have, so that the file shadows none. Dataclasses look their module up by it.
    module_name = f"reward:{path.absolute()}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    function = getattr(module, function_name, None)
    if not callable(function):
        problem = "has no function" if function is None else "has something that is not a function called"
        raise ValueError(
            f"reward {name!r}: {path} {problem} {function_name!r}; define {function_name}(response, label)"
        )
    return function

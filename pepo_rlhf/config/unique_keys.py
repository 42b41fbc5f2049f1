"""YAML in which no key stands twice. YAML's own loaders keep the last of two sections and drop the other silently."""

from __future__ import annotations

from typing import Any

import yaml
from jsonargparse import get_loader

_load = get_loader("yaml")  # jsonargparse's own, which reads 1e-6 as a number


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in keys:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1} has the key {key.value!r} again; keep one")
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, path: str = "") -> Any:
    """Value of a flag, or of the file `path`; raises YAMLError."""
    try:
        yaml.load(text, _UniqueKeys)
    except RecursionError as error:
        raise yaml.YAMLError(f"{path}: nested too deeply".removeprefix(": ")) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there is not, such as 2026-02-30
        raise yaml.YAMLError(f"{path}: {error}".removeprefix(": ")) from error
    return _load(text)

"""Read YAML in which no key stands twice, where YAML's own loaders keep the last of two sections and drop the other."""

from __future__ import annotations

from typing import Any

import yaml
from jsonargparse import get_loader

from pepo_rlhf.config.moved import rename_keys

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
    """Return the value of a flag, or the content of the file `path` with settings under their present names.

    Raises:
        yaml.YAMLError: if it is no YAML, if a key stands twice, or if a setting is given under two names.
    """
    try:
        yaml.load(text, _UniqueKeys)
        return rename_keys(_load(text))
    except RecursionError as error:
        raise yaml.YAMLError(f"{path}: nested too deeply".removeprefix(": ")) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: also a date that there is not, such as 2026-02-30
        raise yaml.YAMLError(f"{path}: {error}".removeprefix(": ")) from error

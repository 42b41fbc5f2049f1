"""Run a Python file that a user names, as a module: a weighting, a task or a verifier."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_file(name: str, path: Path, submodules: list[str] | None = None) -> ModuleType:
    """Return the module in a user's file. What its code raises when it is run is passed on.

    Args:
        name: of the module; with a colon in it no module that can be imported has the same, and none is shadowed.
        path: of the file.
        submodules: folders of the package's own modules, if it is a package.
    """
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=submodules)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if isinstance(error, SyntaxError) and error.filename is None:  # of a null byte
            error.add_note(f"raised by the file {path}")
        del sys.modules[name]  # or the next call would find half a module
        raise
    return module

"""The order of the package's layers: a module imports its own layer and those below it."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pepo_rlhf"
# From the top down. A folder or module of the package stands in one of them.
LAYERS = (
    {"cli", "train", "stop", "check", "prepare", "evaluate", "reweight", "reward", "checks", "report", "credit"},
    {"controller"},
    {"workers", "weight_sync", "evaluation"},
    {"metrics", "checkpoints"},
    {"rewards", "tasks", "data", "toy"},
    {"config"},
    {"core"},
    {"compat"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
# These import what is above them inside a function: the model class that takes the place of OpenRLHF's when the patch
# is applied, and the verifiers of --data.task when the flag is given.
LATE = {"compat/openrlhf.py", "config/parser.py"}


def part_of(module):
    """The folder or module of the package that a dotted name belongs to; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "pepo_rlhf":
            yield from (f"pepo_rlhf.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    relative = path.relative_to(PACKAGE)
    if relative.name == "__init__.py" and len(relative.parts) == 1 or str(relative) in LATE:
        return
    own = relative.parts[0].removesuffix(".py")
    needed = {part_of(name) for name in imports(path) if name.split(".")[0] == "pepo_rlhf"} - {None}
    above = {part for part in needed if LEVEL[part] < LEVEL[own]}
    assert not above, f"{relative} imports {above}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda path: path.name)
def test_the_core_imports_torch_alone(path):
    roots = {name.partition(".")[0] for name in imports(path)}
    assert not roots - {"torch", "pepo_rlhf"} - set(sys.stdlib_module_names)


def test_no_file_has_grown_past_one_concept():
    long = {str(path.relative_to(PACKAGE)): n for path in MODULES if (n := len(path.read_text().splitlines())) > 300}
    assert not long

"""What importing the core loads."""

import subprocess
import sys
from pathlib import Path

import pepo_rlhf.core

MODULES = ", ".join(
    ".".join(["pepo_rlhf.core", *path.relative_to(folder).with_suffix("").parts])
    for folder in [Path(pepo_rlhf.core.__file__).parent]
    for path in sorted(folder.rglob("*.py"))
    if path.stem != "__init__"
)


def loaded(imports, names):
    code = f"import sys, {imports}; print([name for name in {names} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_the_core_imports_torch_and_nothing_else_of_the_stack():
    assert "pepo_rlhf.core.weighting.pepo" in MODULES
    assert loaded(MODULES, ("ray", "vllm", "transformers", "openrlhf", "torch")) == "['torch']"


def test_weightings_are_read_without_torch():
    weightings = ", ".join(module for module in MODULES.split(", ") if ".weighting." in module)
    assert loaded(weightings, ("torch", "numpy")) == "[]"

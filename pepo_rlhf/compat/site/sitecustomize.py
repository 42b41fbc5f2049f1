"""Python imports this before anything else where the folder is on PYTHONPATH: prepares processes that vLLM spawns.

They import torchvision while they unpickle their first argument, which is before any plugin of vLLM is loaded.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

_here = Path(__file__).parent
sys.path.remove(str(_here))
sys.path.append(str(_here.parents[2]))  # the package's folder, should it not be installed

from pepo_rlhf import compat  # noqa: E402

compat.install()

# The environment may have a sitecustomize of its own, which this one hides.
hidden = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if hidden is not None and hidden.loader is not None:
    hidden.loader.exec_module(importlib.util.module_from_spec(hidden))

"""Adapts other libraries: the register of patches, stand-ins for missing packages, and what a CPU needs.

On a machine with CUDA and flash-attn only the rows of the register without `cpu_only` are applied.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import wrapt

from pepo_rlhf.compat import cpu, cuda, flash_attn_standin, log_files, parent_death, register, torchvision_schemas

_SITE = str(Path(__file__).with_name("site"))
_installed = False


def install() -> None:
    """Prepare this process, and those that it starts, for openrlhf and vllm; to be called before their import.

    Commands call it first; Ray workers get here through `install_in_worker`, processes that vLLM spawns
    through PYTHONPATH and site/sitecustomize.py. It loads none of the heavy libraries: what depends on one is done
    when that one is imported.
    """
    global _installed
    if _installed:
        return
    _installed = True
    parent_death.end_if_bound()
    # In each process, as the driver may run on a cluster's head that has no GPU.
    for name, value in (cuda.environment() if cpu.machine_has_gpu() else cpu.ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *(path for path in paths if path not in ("", _SITE))])
    # torch warns at its import, of a package that OpenRLHF asks for.
    warnings.filterwarnings("ignore", message="The pynvml package is deprecated", category=FutureWarning)
    if not flash_attn_standin.is_library_installed():
        flash_attn_standin.install()
    wrapt.register_post_import_hook(torchvision_schemas.declare, "torch")
    register.register_all()


def install_in_worker() -> None:
    """Prepare a worker of Ray, as its `worker_process_setup_hook`."""
    log_files.begin()
    install()

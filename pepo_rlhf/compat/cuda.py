"""What a machine with GPUs needs: the CUDA compiler of the locked stack, which DeepSpeed compiles its Adam with."""

from __future__ import annotations

import sysconfig
from pathlib import Path


def environment() -> dict[str, str]:
    """Return CUDA_HOME for the toolkit that requirements/install.sh gpu has installed; nothing without it.

    DeepSpeed refuses the compiler of any other CUDA version than torch's, as that of a machine or an image may be.
    """
    toolkit = Path(sysconfig.get_path("purelib"), "nvidia", "cu13")
    # The linker's name of the CUDA runtime, which the packages lack and the script adds.
    return {"CUDA_HOME": str(toolkit)} if (toolkit / "lib" / "libcudart.so").exists() else {}

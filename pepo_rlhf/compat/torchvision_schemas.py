"""Lets a CUDA build of torchvision be imported beside CPU torch, for its transforms, which are plain Python."""

from __future__ import annotations

import importlib.metadata

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_schemas = None  # torch drops the schemas together with this object


def declare(torch) -> None:
    """Declare the two operators whose absence makes `import torchvision` fail. Called right after torch's import.

    PyPI's torchvision is a CUDA build whose compiled operators do not load beside torch's CPU build; torchvision+cpu
    brings its own operators and must not meet these.
    """
    global _schemas
    if not torch.__version__.endswith("+cpu") or importlib.metadata.version("torchvision").endswith("+cpu"):
        return
    from torch import library

    _schemas = library.Library("torchvision", "DEF")
    for schema in _OPERATORS:
        _schemas.define(schema)

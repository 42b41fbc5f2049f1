"""Weights in pickles (pytorch_model.bin) are refused: unpickling may run code that comes with a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HOW_TO_CONVERT = (
    "only safetensors are loaded; if you trust where it comes from, load it with transformers and save it again with "
    "save_pretrained, which writes model.safetensors"
)


def safetensors_only(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function by which transformers reads a file of weights, which raises ValueError for a pickle.

    torch's weights_only mode, which transformers uses, has had holes.
    """

    def load(checkpoint_file: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(checkpoint_file).endswith(".safetensors"):
            raise ValueError(f"{checkpoint_file} is a pickle: {HOW_TO_CONVERT}")
        return original(checkpoint_file, *args, **kwargs)

    return load

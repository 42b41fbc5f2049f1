"""One place that decides whether code that comes with a model is run: only with `--run.trust_remote_code`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# An environment variable, since it must reach Ray workers, vLLM's engine core and its model-inspection subprocess.
TRUST_REMOTE_CODE = "PEPO_RLHF_TRUST_REMOTE_CODE"


def gated(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function by which every loader of transformers decides, closed unless the flag was given.

    When it is closed, code that transformers itself has is used, and a model that has none raises ValueError.
    """

    def resolve(trust_remote_code: Any, model_name: str, *args: Any, **kwargs: Any) -> Any:
        allowed = os.environ.get(TRUST_REMOTE_CODE) == "1"
        try:
            return original(bool(trust_remote_code) and allowed, model_name, *args, **kwargs)
        except ValueError as error:
            error.add_note(f"To run the code that comes with {model_name}, pass --run.trust_remote_code true.")
            raise

    return resolve


def gated_kernel(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that downloads an attention kernel from the hub, closed unless the flag was given."""

    def load(attn_implementation: str, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get(TRUST_REMOTE_CODE) != "1":
            raise ValueError(
                f"attention {attn_implementation} would be downloaded and run: install its package, choose "
                "--ds.attn_implementation sdpa, or pass --run.trust_remote_code true"
            )
        return original(attn_implementation, *args, **kwargs)

    return load

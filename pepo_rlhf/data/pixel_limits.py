"""Limits on an image's pixels after resizing, which decide how many visual tokens it makes."""

from __future__ import annotations

from typing import Any


def pixel_limits(processor: Any, min_pixels: int | None, max_pixels: int | None) -> dict[str, int]:
    """Return arguments for a call of the processor; empty, for the model's own limits, if neither is given.

    Qwen's processors ignore a limit that comes alone, so the model's own joins it. Raise ValueError for a processor
    without such limits, and for a limit that contradicts the model's own other one.
    """
    if min_pixels is None and max_pixels is None:
        return {}
    size = getattr(getattr(processor, "image_processor", None), "size", None) or {}
    if not size.get("shortest_edge") or not size.get("longest_edge"):
        raise ValueError(
            f"--data.min_pixels and --data.max_pixels: {type(processor).__name__} of this model has no such limits; "
            "leave them out"
        )
    limits = {
        "min_pixels": size["shortest_edge"] if min_pixels is None else min_pixels,
        "max_pixels": size["longest_edge"] if max_pixels is None else max_pixels,
    }
    if limits["min_pixels"] > limits["max_pixels"]:
        raise ValueError(
            f"--data.min_pixels {limits['min_pixels']} is above --data.max_pixels {limits['max_pixels']}, one of them "
            "the model's own; give both"
        )
    return limits

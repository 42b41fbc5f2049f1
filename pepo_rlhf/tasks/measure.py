"""What a model's processor makes of a row: tokens of its prompt, and the frame of its boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.tasks.frame import Frame, pixels, thousandths


@dataclass(frozen=True)
class PromptMeasure:
    """Measures prompts as the run will make them.

    processor: of the model
    max_tokens: longest prompt that leaves room for the response, visual tokens included
    pixels: arguments of the processor's call, from `pixel_limits`
    """

    processor: Any
    max_tokens: int
    pixels: dict[str, int]


def load_measure(model: str, max_tokens: int, min_pixels: int | None, max_pixels: int | None) -> PromptMeasure:
    """Measure by the processor of a model, a folder or a hub id; raises ValueError for limits that it has not."""
    from transformers import AutoProcessor

    # The gate of pepo_rlhf.compat decides whether code that comes with the model is run.
    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    return PromptMeasure(processor, max_tokens, pixel_limits(processor, min_pixels, max_pixels))


def frame_of(name: Literal["pixels", "thousandths"], measure: PromptMeasure | None) -> Frame:
    """The frame of --frame; one of pixels needs the measure only when a box is placed."""
    if name == "thousandths":
        return thousandths()
    return pixels(measure.processor, measure.pixels) if measure else pixels()

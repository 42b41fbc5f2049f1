"""What a model's processor makes of a row: the tokens of its prompt, and the frame of its boxes."""

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
    """Return the measure of a model's processor; model: a folder or a hub id.

    Raises:
        ValueError: for pixel limits that the processor does not have.
    """
    from transformers import AutoProcessor

    # pepo_rlhf.compat blocks code that comes with a model unless --trust_remote_code allows it.
    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    return PromptMeasure(processor, max_tokens, pixel_limits(processor, min_pixels, max_pixels))


def frame_of(name: Literal["pixels", "thousandths"], measure: PromptMeasure | None) -> Frame:
    """Return the frame of --frame. A frame of pixels needs the measure once a box is placed."""
    if name == "thousandths":
        return thousandths()
    return pixels(measure.processor, measure.pixels) if measure else pixels()

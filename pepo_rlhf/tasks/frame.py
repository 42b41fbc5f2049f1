"""The coordinate frame that boxes are asked for and answered in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from pepo_rlhf.data.prompt_measure import PromptMeasure


@dataclass(frozen=True)
class Frame:
    """A coordinate frame.

    size: width and height of an image in the frame's units
    wording: the sentence of the prompt that states the frame; {width} and {height} stand for its size
    boxes: units of the source's boxes: pixels, unit (0 to 1) or thousandths
    box_frame: the image that the source's boxes lie in: as stored, or upright, turned by its EXIF orientation
    """

    size: Callable[[Image.Image], tuple[int, int]]
    wording: str
    boxes: str = "pixels"
    box_frame: str = "stored"


def thousandths() -> Frame:
    """Return the frame from 0 to 1000 along either side of the image (InternVL3, Qwen3-VL)."""
    return Frame(lambda image: (1000, 1000), "Coordinates run from 0 to 1000 along the image's width and height.")


def pixels(processor: Any = None, limits: Mapping[str, int] | None = None) -> Frame:
    """Return the frame of absolute pixels of the image as the model's processor resizes it (Qwen2.5-VL).

    Args:
        processor: a Hugging Face processor whose image processor returns `image_grid_thw`; with None, placing a
            box raises ValueError.
        limits: arguments of its call, from `pixel_limits`.
    """

    def size(image: Image.Image) -> tuple[int, int]:
        if processor is None:
            raise ValueError("--frame pixels needs --model, whose processor says what an image is resized to")
        encoded = processor.image_processor(images=[image], return_tensors="pt", **(limits or {}))
        if "image_grid_thw" not in encoded:
            raise ValueError(
                f"--frame pixels: {type(processor).__name__} cuts images into tiles, so that there is no one resized "
                "image; use --frame thousandths"
            )
        _, rows, columns = encoded["image_grid_thw"][0].tolist()
        patch = processor.image_processor.patch_size
        return columns * patch, rows * patch

    return Frame(size, "Coordinates are pixels of the image, which is {width} wide and {height} high.")


def frame_of(name: Literal["pixels", "thousandths"], measure: PromptMeasure | None) -> Frame:
    """Return the frame of --frame. A frame of pixels needs the measure once a box is placed."""
    if name == "thousandths":
        return thousandths()
    return pixels(measure.processor, measure.pixels) if measure else pixels()

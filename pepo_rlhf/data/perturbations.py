"""Perturbed images, for signals that ask what a policy would say without the true ones.

All keep the sizes of the images, so that the prompt keeps its tokens, and go through the processor like the true ones:
a black pixel is black before it is normalised.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pepo_rlhf.data.images import decode_image, image_views

PATCH = 14  # pixels along each side, as in VPPO's code


class Perturbation(NamedTuple):
    """How a prompt's images are perturbed.

    Attributes:
        kind: blank, mid grey; patches, some black; noise, every pixel drawn anew; swapped, another row's, resized.
        ratio: share of the patches that are black.
        other_images: path or encoded bytes of another row's images, for `swapped`.
        seed: of patches and noise.
    """

    kind: str
    ratio: float = 0.5
    other_images: tuple[str | bytes, ...] = ()
    seed: int = 0


def perturb(pictures: list[Image.Image], perturbation: Perturbation) -> list[Image.Image]:
    """Return the images of a prompt perturbed, at their sizes."""
    if perturbation.kind in ("blank", "swapped"):
        others = [decode_image(image) for image in perturbation.other_images] or pictures
        return image_views(pictures, others)[perturbation.kind]
    generator = np.random.default_rng(perturbation.seed)
    if perturbation.kind == "noise":
        shapes = [(picture.height, picture.width, 3) for picture in pictures]
        return [Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]
    return [_mask_patches(picture, perturbation.ratio, generator) for picture in pictures]


def _mask_patches(picture: Image.Image, ratio: float, generator: Any) -> Image.Image:
    """Return the image with round(ratio * patches) of its patches black; those at its edges may be smaller."""
    rows, columns = -(-picture.height // PATCH), -(-picture.width // PATCH)
    is_black = np.zeros(rows * columns, dtype=bool)
    is_black[generator.permutation(rows * columns)[: round(ratio * rows * columns)]] = True
    mask = np.kron(is_black.reshape(rows, columns), np.ones((PATCH, PATCH), dtype=bool))
    return Image.fromarray(np.where(mask[: picture.height, : picture.width, None], np.uint8(0), np.asarray(picture)))

"""Runs the vision encoder once an image of a micro-batch, not once for each of the rows that share the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def shared_images(model: PreTrainedModel, inputs: dict) -> Iterator[dict]:
    """Let one forward of `model`, given what the context yields, encode each distinct image once.

    Their features are placed as `image_index` says, and the gradients of an image's places add up. A frozen encoder
    runs without gradients: transformers' gradient checkpointing asks for those of every input, so that backward would
    run through the encoder, and compute it again, for nothing.

    Args:
        model: a Hugging Face vision-language model whose forward calls `get_image_features`: Qwen2.5-VL, Qwen3-VL,
            InternVL in Hugging Face format.
        inputs: from `merge_image_tensors`. Without `image_index` nothing is changed.

    Raises:
        ValueError: if the model has no `get_image_features`, or one that returns other features, as Llama 4's.
    """
    if "image_index" not in inputs:
        yield inputs
        return
    image_index, inputs = inputs["image_index"], {key: inputs[key] for key in inputs if key != "image_index"}
    grids: tuple[torch.Tensor, ...] = ()
    if "image_grid_thw" in inputs:  # the forward computes positions from the rows of all images
        grids = (inputs["image_grid_thw"],)
        inputs["image_grid_thw"] = inputs["image_grid_thw"][image_index]
    owners = [module for module in model.modules() if hasattr(module, "get_image_features")]
    if not owners:
        raise ValueError(f"{type(model).__name__} has no get_image_features, by which images are encoded")
    owner = owners[-1]  # the innermost; those around it pass the call on
    encode = owner.get_image_features
    is_trained = any(  # by name, as --actor.freeze_visual_encoder freezes
        weight.requires_grad and "language_model" not in name and "lm_head" not in name
        for name, weight in owner.named_parameters()
    )

    def get_image_features(pixel_values, *positions, **kwargs):
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_trained):
            output = encode(pixel_values, *(grids or positions), **kwargs)
        features = getattr(output, "pooler_output", None)  # [tokens, D] an image
        if features is None:
            raise ValueError(f"{type(model).__name__} returns no features image by image: it cannot be trained here")
        if (deepstack := getattr(output, "deepstack_features", None)) is not None:  # Qwen3-VL's, [all tokens, D]
            sizes = [len(image) for image in features]
            output.deepstack_features = [torch.cat(_select(layer.split(sizes), image_index)) for layer in deepstack]
        output.pooler_output = _select(features, image_index)
        return output

    owner.get_image_features = get_image_features
    try:
        yield inputs
    finally:
        del owner.get_image_features  # the instance's attribute, so that the class's method is found again


def _select(
    features: torch.Tensor | tuple[torch.Tensor, ...], image_index: torch.Tensor
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    if isinstance(features, torch.Tensor):
        return features[image_index]
    return tuple(features[image] for image in image_index.tolist())

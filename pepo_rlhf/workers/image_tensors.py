"""The processor's image tensors: in Ray's object store once a prompt, a reference to them in each sample."""

from __future__ import annotations

import ray
import torch
from openrlhf.utils.vlm_utils import merge_mm_train_inputs as merge_tensors


def share_image_tensors(responses: list[dict]) -> None:
    """Replaces the image tensors of one prompt's responses, which they have in common, by a reference, in place.

    Policy and reference workers map the object store's memory: the tensors are not copied to each micro-batch.
    """
    tensors = responses[0]["mm_train_inputs"]
    if tensors is None:
        return
    # Ray maps NumPy arrays without a copy; it would pickle torch tensors.
    reference = ray.put({name: tensor.numpy() for name, tensor in tensors.items()})
    for response in responses:
        response["mm_train_inputs"] = reference


def merge_image_tensors(samples: list, device) -> dict[str, torch.Tensor | list[int]]:
    """The images of a micro-batch, each of them once however many of its samples share it.

    Args:
        samples: for each sample a reference to tensors, the tensors, or None without an image.

    Returns:
        The processor's tensors on `device`, and `image_index`, for each image of each sample in turn its number among
        them, as `workers.image_encoder` takes it. Empty without an image.
    """
    samples = [sample for sample in samples if sample is not None]
    if not samples:
        return {}
    keys = [sample if isinstance(sample, ray.ObjectRef) else id(sample) for sample in samples]
    distinct = dict(zip(keys, samples, strict=True))
    references = [key for key in distinct if isinstance(key, ray.ObjectRef)]
    for reference, arrays in zip(references, ray.get(references) if references else [], strict=True):
        # Shared memory is read-only and a tensor of it must not be written to: here it is copied, once a prompt.
        distinct[reference] = {name: torch.tensor(array) for name, array in arrays.items()}
    numbers, num_seen = {}, 0
    for key, tensors in distinct.items():
        # Qwen's pixels are patches, with a row of the grid an image; those of others are images, or tiles of them.
        num_images = len(tensors["image_grid_thw" if "image_grid_thw" in tensors else "pixel_values"])
        numbers[key] = range(num_seen, num_seen := num_seen + num_images)
    image_index = [number for key in keys for number in numbers[key]]
    return merge_tensors(list(distinct.values()), device) | {"image_index": image_index}

"""The processor's image tensors: in Ray's object store once a prompt, and once in a forward pass."""

from __future__ import annotations

from typing import Any

import ray
import torch
from torch.nn.functional import pad

from pepo_rlhf.workers.responses import Group


def share_image_tensors(group: Group) -> Group:
    """Return the group with references to its image tensors in their place.

    Policy and reference workers map the object store's memory: the tensors are not copied to each micro-batch.
    """
    kinds = {"image_tensors": group.image_tensors, "perturbed_tensors": group.perturbed_tensors}
    # Ray maps NumPy arrays without a copy; it would pickle torch tensors.
    references: dict[str, Any] = {
        kind: ray.put({name: tensor.numpy() for name, tensor in tensors.items()})
        for kind, tensors in kinds.items()
        if tensors is not None
    }
    return group._replace(**references)


def merge_image_tensors(samples: list[Any], device: torch.device | str | int) -> dict[str, torch.Tensor]:
    """Return the images of a micro-batch, each of them once however many of its rows share it.

    Args:
        samples: for each row a reference to tensors, the tensors, or None without an image.

    Returns:
        The processor's tensors on `device`, and `image_index`: for each image of each row in turn its number among
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
    image_index = torch.tensor([number for key in keys for number in numbers[key]])
    merged = {name: _join([tensors[name] for tensors in distinct.values()]) for name in next(iter(distinct.values()))}
    return {name: tensor.to(device) for name, tensor in (merged | {"image_index": image_index}).items()}


def _join(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return all rows of some tensors; images [n, C, H, W] are padded to one size at the right and the bottom.

    So Mistral's processor pads those of a prompt; its vision tower cuts the padding off by `image_sizes`.
    """
    if tensors[0].dim() == 4:
        height, width = (max(tensor.shape[axis] for tensor in tensors) for axis in (-2, -1))
        tensors = [pad(tensor, (0, width - tensor.shape[-1], 0, height - tensor.shape[-2])) for tensor in tensors]
    return torch.cat(tensors)

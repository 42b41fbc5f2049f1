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


def merge_image_tensors(samples: list, device) -> dict[str, torch.Tensor]:
    """One micro-batch's image tensors on `device`. samples: a reference, a dict of tensors or None each."""
    references = list(dict.fromkeys(sample for sample in samples if isinstance(sample, ray.ObjectRef)))
    # Shared memory is read-only and a tensor of it must not be written to: here it is copied, once a prompt.
    shared = {
        reference: {name: torch.tensor(array) for name, array in arrays.items()}
        for reference, arrays in zip(references, ray.get(references), strict=True)
    }
    return merge_tensors(
        [shared.get(sample) if isinstance(sample, ray.ObjectRef) else sample for sample in samples], device
    )

"""The images of a micro-batch, however its samples share them."""

import pytest
import ray
import torch

from pepo_rlhf.workers.image_tensors import merge_image_tensors, share_image_tensors
from pepo_rlhf.workers.responses import Group


def qwen(*sides):
    """Images of `side` x `side` patches; each patch holds its image's side."""
    pixels = torch.cat([torch.full((side * side, 3), float(side)) for side in sides])
    return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, side, side] for side in sides])}


def test_an_image_that_samples_share_is_there_once():
    first, second = qwen(2, 4), qwen(6)  # two images, one image
    merged = merge_image_tensors([first, None, second, first, second], "cpu")
    assert merged["image_index"].tolist() == [0, 1, 2, 0, 1, 2]
    assert merged["image_grid_thw"].tolist() == [[1, 2, 2], [1, 4, 4], [1, 6, 6]]
    assert merged["pixel_values"][:, 0].tolist() == [2.0] * 4 + [4.0] * 16 + [6.0] * 36


def test_tiles_are_images_where_pixels_are_not_patches():
    first, second = ({"pixel_values": torch.full((tiles, 3, 8, 8), float(tiles))} for tiles in (3, 1))
    merged = merge_image_tensors([second, first, second], "cpu")
    assert merged["image_index"].tolist() == [0, 1, 2, 3, 0]
    assert merged["pixel_values"][:, 0, 0, 0].tolist() == [1.0, 3.0, 3.0, 3.0]


def test_images_of_different_sizes_are_padded_to_one():
    """As Mistral's processor pads those of one prompt; `image_sizes` tells what is image."""
    first, second = (
        {"pixel_values": torch.ones(1, 3, *size), "image_sizes": torch.tensor([size])} for size in ((2, 5), (4, 3))
    )
    merged = merge_image_tensors([first, second], "cpu")
    assert merged["image_sizes"].tolist() == [[2, 5], [4, 3]]
    assert merged["pixel_values"].shape == (2, 3, 4, 5)
    for pixels, (height, width) in zip(merged["pixel_values"], ((2, 5), (4, 3)), strict=True):
        assert pixels[:, :height, :width].eq(1).all()
        assert pixels.sum() == 3 * height * width


def test_samples_without_images_have_no_tensors():
    assert merge_image_tensors([None, None], "cpu") == merge_image_tensors([], "cpu") == {}


@pytest.fixture
def object_store():
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_samples_of_a_prompt_share_one_reference(object_store):
    groups = [share_image_tensors(Group([1], qwen(side), [])) for side in (2, 4)]
    samples = [group.image_tensors for group in groups for _ in range(3)]
    assert len(set(samples)) == 2
    assert share_image_tensors(Group([1], None, [])).image_tensors is None
    merged = merge_image_tensors([samples[4], samples[0], samples[5]], "cpu")
    assert merged["image_index"].tolist() == [0, 1, 0]
    assert merged["image_grid_thw"].tolist() == [[1, 4, 4], [1, 2, 2]]
    merged["pixel_values"] += 1  # a copy: the object store's memory is read-only

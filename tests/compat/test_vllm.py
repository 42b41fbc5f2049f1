"""Visual tokens of Mistral 3, as vLLM counts them with the replacement."""

from types import SimpleNamespace

import pytest


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (60, 90, (3, 4)),  # tokens of 28 x 28 pixels, rounded up; vLLM 0.29 by itself makes 2 columns and 3 rows
        (56, 28, (2, 1)),
        (150, 70, (4, 2)),  # shrunk to 112 x 52
    ],
)
def test_an_images_sides_are_rounded_up_to_whole_tokens(width, height, grid):
    from vllm.model_executor.models.mistral3 import Mistral3HFEncoderInfo

    config = SimpleNamespace(spatial_merge_size=2, vision_config=SimpleNamespace(patch_size=14))
    encoder = Mistral3HFEncoderInfo(config, image_size=112)
    assert encoder.get_patch_grid_size(image_width=width, image_height=height) == grid

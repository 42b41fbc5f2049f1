from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.toy.tiny_vlm import MAX_PIXELS, MIN_PIXELS, build_processor


@pytest.fixture(scope="module")
def processor():
    return build_processor()


def test_without_limits_the_call_has_no_arguments(processor) -> None:
    assert pixel_limits(processor, None, None) == {}


@pytest.mark.parametrize(
    ("given", "side", "num_visual"),
    [
        ((None, None), 280, 16),  # the model's own: 112 x 112 at most, 56 x 56 at least, 28 x 28 a token
        ((None, 140 * 140), 280, 25),
        ((None, 140 * 140), 28, 4),
        ((84 * 84, None), 28, 9),
        ((84 * 84, None), 280, 16),
        ((84 * 84, 140 * 140), 280, 25),
    ],
)
def test_a_limit_holds_alone_and_beside_the_other(processor, given, side: int, num_visual: int) -> None:
    images = [Image.new("RGB", (side, side))]
    encoded = processor(text=[processor.image_token], images=images, **pixel_limits(processor, *given))
    assert len(encoded["input_ids"][0]) == num_visual


def test_a_limit_that_contradicts_the_models_own_is_refused(processor) -> None:
    with pytest.raises(ValueError, match=f"--data.min_pixels {MAX_PIXELS + 1} is above --data.max_pixels {MAX_PIXELS}"):
        pixel_limits(processor, MAX_PIXELS + 1, None)
    with pytest.raises(ValueError, match=f"--data.min_pixels {MIN_PIXELS} is above --data.max_pixels {MIN_PIXELS - 1}"):
        pixel_limits(processor, None, MIN_PIXELS - 1)


@pytest.mark.parametrize(
    "other",
    [
        SimpleNamespace(),
        SimpleNamespace(image_processor=SimpleNamespace(size={"height": 224, "width": 224})),
        SimpleNamespace(image_processor=SimpleNamespace(size={"shortest_edge": 224})),
    ],
)
def test_a_processor_without_limits_is_refused_rather_than_ignoring_them(other) -> None:
    with pytest.raises(ValueError, match="of this model has no such limits; leave them out"):
        pixel_limits(other, None, 3136)

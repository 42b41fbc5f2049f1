import numpy as np
import pytest
from PIL import Image

from pepo_rlhf.config.learning import Pepo
from pepo_rlhf.data.perturbations import PATCH, Perturbation, perturb


@pytest.fixture
def pictures():
    """Two of different sizes, neither a multiple of a patch's."""
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(1, 256, (*size, 3), dtype=np.uint8)) for size in ((60, 90), (33, 14))]


@pytest.mark.parametrize("kind", ["blank", "patches", "noise", "swapped"])
def test_sizes_stay_and_pixels_change(pictures, kind):
    perturbed = perturb(pictures, Perturbation(kind))
    assert [picture.size for picture in perturbed] == [picture.size for picture in pictures]
    if kind == "swapped":  # without another row's images there is nothing but the row's own
        assert all(np.array_equal(*pair) for pair in zip(perturbed, pictures, strict=True))
    else:
        assert not any(np.array_equal(*pair) for pair in zip(perturbed, pictures, strict=True))


def test_blank_is_mid_grey(pictures):
    assert {value for picture in perturb(pictures, Perturbation("blank")) for value in picture.getdata()} == {
        (128, 128, 128)
    }


@pytest.mark.parametrize(("ratio", "num_black"), [(0.5, 18), (1.0, 35), (0.2, 7)])  # of 5 x 7 patches
def test_a_share_of_the_patches_is_black_and_the_others_are_as_they_were(pictures, ratio, num_black):
    (perturbed, _) = perturb(pictures, Perturbation("patches", ratio))
    before, after = np.asarray(pictures[0]), np.asarray(perturbed)
    counted = 0
    for row in range(0, 60, PATCH):
        for column in range(0, 90, PATCH):
            patch = np.s_[row : row + PATCH, column : column + PATCH]
            is_black = not after[patch].any()
            assert is_black or np.array_equal(after[patch], before[patch])
            counted += is_black
    assert counted == num_black


def test_a_seed_gives_the_same_patches_again_and_another_one_others(pictures):
    for kind in ("patches", "noise"):
        first, again, other = (np.asarray(perturb(pictures, Perturbation(kind, seed=seed))[0]) for seed in (1, 1, 2))
        assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_another_rows_image_is_resized(pictures, tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "other.png")
    perturbed = perturb(pictures, Perturbation("swapped", other_images=(str(tmp_path / "other.png"),)))
    assert [(picture.size, picture.getpixel((0, 0))) for picture in perturbed] == [
        ((90, 60), (255, 0, 0)),
        ((14, 33), (255, 0, 0)),
    ]


def test_the_settings_name_every_kind():
    from typing import get_args, get_type_hints

    assert get_args(get_type_hints(Pepo)["perturbation"]) == ("blank", "patches", "noise", "swapped")

from __future__ import annotations

import json
from collections import Counter
from itertools import product

import pytest
from PIL import Image, ImageChops

from pepo_rlhf.data import decode_image, load_rows
from pepo_rlhf.rewards import load_rewards
from pepo_rlhf.tasks import find_task, pixels, read_problems
from pepo_rlhf.toy.dataset import write_rows
from pepo_rlhf.toy.grounding import COLOURS, demonstration, generate

ROWS = generate(200, seed=0)


def test_the_box_is_the_smallest_around_the_shape() -> None:
    for row in ROWS[:60]:
        image = row.draw()
        assert image.size == (112, 112)
        for shape in row.shapes:
            others = Image.new("RGB", image.size, "white")
            others.paste(image.crop(shape.box), shape.box)  # far edges exclusive, as the box's
            found = ImageChops.difference(others, Image.new("RGB", image.size, "white")).getbbox()
            if shape.form == "triangle":  # its apex is half a pixel off the middle
                assert found is not None and all(abs(a - b) <= 1 for a, b in zip(found, shape.box, strict=True))
            else:
                assert found == shape.box
            colours = {colour for colour in image.crop(shape.box).get_flattened_data()}
            black, white = (0, 0, 0), (255, 255, 255)
            assert colours <= {black, white, COLOURS[shape.colour]}, "no other shape reaches into the box"


def test_shapes_differ_and_coordinates_lie_on_the_lattice() -> None:
    for row in ROWS:
        assert 2 <= len(row.shapes) <= 3
        assert len({shape.colour for shape in row.shapes}) == len(row.shapes)
        assert all(value % 28 == 0 and 0 <= value <= 112 for shape in row.shapes for value in shape.box)


def test_each_cell_bears_a_mark_of_its_own() -> None:
    marks: dict[tuple[int, int], set[bytes]] = {}
    for row in ROWS:
        covered = Image.new("1", (112, 112))
        for shape in row.shapes:
            covered.paste(1, shape.box)
        for x, y in product(range(0, 112, 28), repeat=2):
            if not covered.getpixel((x, y)):
                marks.setdefault((x, y), set()).add(row.draw().crop((x, y, x + 28, y + 28)).tobytes())
    assert len(marks) == 16 and all(len(found) == 1 for found in marks.values())
    assert len(set.union(*marks.values())) == 16


def test_colours_and_forms_are_balanced() -> None:
    # 200 draws of 9 kinds: each is expected 22 times, with a standard deviation of 4.4.
    assert all(abs(count - 22) < 22 for count in Counter(row.shapes[0].name for row in ROWS).values())
    assert len({row.shapes[0].name for row in ROWS}) == 9


def test_same_seed_gives_same_rows_and_another_seed_others() -> None:
    assert generate(200, seed=0) == ROWS
    assert generate(200, seed=1) != ROWS


@pytest.mark.parametrize("test_seed", [0, 1])
def test_splits_share_no_picture_whatever_the_seeds(test_seed: int) -> None:
    held_out = {row.draw().tobytes() for row in generate(50, seed=test_seed, split="test")}
    assert held_out.isdisjoint(row.draw().tobytes() for row in ROWS)


def test_demonstrations_score_one_and_others_less() -> None:
    reward = load_rewards(["format", "iou"])
    for row in ROWS[:20]:
        assert reward(demonstration(row), row.label) == {"format": 1.0, "iou": 1.0}
        other = row.shapes[1].box
        assert reward(demonstration(row, other), row.label) == {"format": 1.0, "iou": 0.0}


def test_the_written_data_set_trains_and_evaluates(tmp_path) -> None:
    write_rows(tmp_path / "train.jsonl", ROWS[:5], "grounding")
    loaded = load_rows(str(tmp_path / "train.jsonl")).rows
    problems = list(read_problems(find_task("grounding"), str(tmp_path / "train.jsonl"), "train", pixels()))
    for row, record, problem in zip(ROWS, loaded, problems, strict=False):
        assert record == problem
        assert record.prompt == row.problem
        assert json.loads(record.label) == {"box": [*map(float, row.shapes[0].box)], "frame": [112, 112]}
        assert decode_image(record.images[0]).tobytes() == row.draw().tobytes()

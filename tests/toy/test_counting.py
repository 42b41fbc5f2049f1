from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from PIL import Image

from pepo_rlhf.data import decode_image, load_rows
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.toy.counting import COLOURS, demonstration, generate
from pepo_rlhf.toy.dataset import write_rows

ROWS = generate(300, seed=0)
SQUARE_PIXELS = 20 * 20


def squares_by_colour(image: Image.Image) -> dict[str, float]:
    pixels = Counter(image.get_flattened_data())
    assert set(pixels) <= {(255, 255, 255), *COLOURS.values()}
    return {name: pixels[rgb] / SQUARE_PIXELS for name, rgb in COLOURS.items()}


def test_pictures_hold_the_stated_number_of_squares():
    for row in ROWS:
        image = row.draw()
        assert image.size == (112, 112)
        squares = squares_by_colour(image)
        assert squares.pop(row.colour) == row.count
        assert 1 <= row.count <= 5
        assert all(distractors in {1, 2, 3, 4} for distractors in squares.values())


def test_every_square_stays_inside_one_cell():
    for row in ROWS[:20]:
        image = row.draw()
        for index, colour in enumerate(row.cells):
            left, top = 28 * (index % 4), 28 * (index // 4)
            squares = squares_by_colour(image.crop((left, top, left + 28, top + 28)))
            assert {name for name, number in squares.items() if number == 1} == ({colour} - {None})


def test_counts_and_colours_are_balanced():
    # 300 draws: a count is expected 60 times, a colour 100 times; five standard deviations are 35 and 41.
    assert all(abs(number - 60) < 35 for number in Counter(row.count for row in ROWS).values())
    assert all(abs(number - 100) < 41 for number in Counter(row.colour for row in ROWS).values())


def test_same_seed_gives_same_rows_and_another_seed_others():
    assert generate(300, seed=0) == ROWS
    assert generate(300, seed=1) != ROWS


@pytest.mark.parametrize("test_seed", [0, 1])
def test_splits_share_no_picture_whatever_the_seeds(test_seed):
    held_out = {row.draw().tobytes() for row in generate(300, seed=test_seed, split="test")}
    assert held_out.isdisjoint(row.draw().tobytes() for row in ROWS)


def test_demonstration_states_the_count_in_the_expected_format():
    for row in ROWS[:20]:
        match = re.fullmatch(r"<think>(\w+) squares (\d)</think><answer>(\d)</answer>", demonstration(row))
        assert match is not None
        assert match.groups() == (row.colour, str(row.count), str(row.count))
        assert format_reward(demonstration(row), str(row.count)) == 1.0
    assert demonstration(ROWS[0], count=9) == f"<think>{ROWS[0].colour} squares 9</think><answer>9</answer>"


def test_written_dataset_loads_with_its_pictures_and_splits_share_a_folder(tmp_path):
    write_rows(tmp_path / "train.jsonl", generate(5, seed=3))
    write_rows(tmp_path / "test.jsonl", generate(5, seed=3, split="test"))
    for split in ("train", "test"):
        loaded = load_rows(str(tmp_path / f"{split}.jsonl")).rows
        for row, record in zip(generate(5, 3, split), loaded, strict=True):
            assert record.prompt == f"<image>How many {row.colour} squares are there?"
            assert record.label == str(row.count)
            [image] = record.images
            assert squares_by_colour(decode_image(image))[row.colour] == row.count


def test_written_records_name_pictures_relative_to_their_file(tmp_path):
    write_rows(tmp_path / "train.jsonl", generate(2, seed=0))
    records = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [record["images"] for record in records] == [["images/train-000001.png"], ["images/train-000002.png"]]

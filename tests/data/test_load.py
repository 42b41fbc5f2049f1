from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pepo_rlhf.data import load_rows

GOOD = {"image": "a.png", "problem": "<image>Find x.", "answer": "13"}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((32, 32), 50).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, *records: dict) -> str:
    """rows.jsonl with the records, beside a.png."""
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(png())
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def test_rows_without_placeholders_get_one_for_each_image_at_the_front(tmp_path: Path) -> None:
    file = write(tmp_path, {"images": ["a.png", "a.png"], "problem": "Same?", "answer": "yes"})
    (row,) = load_rows(file)
    assert row.prompt == "<image><image>\nSame?"


def test_rows_with_placeholders_stay_as_they_are(tmp_path: Path) -> None:
    (row,) = load_rows(write(tmp_path, GOOD))
    assert row.prompt == "<image>Find x."


def test_a_problem_without_an_image_says_so_with_an_empty_list(tmp_path: Path) -> None:
    (row,) = load_rows(write(tmp_path, {"images": [], "problem": "What is 6 + 7?", "answer": "13"}))
    assert (row.images, row.prompt) == ((), "What is 6 + 7?")


def test_sources_separated_by_commas_are_concatenated(tmp_path: Path) -> None:
    first = write(tmp_path / "first", GOOD, GOOD)
    second = write(tmp_path / "second", GOOD | {"answer": "14"})
    rows = load_rows(f"{first}, {second}")
    assert [(row.label, row.datasource) for row in rows] == [("13", "first/rows")] * 2 + [("14", "second/rows")]


def test_max_samples_limits_each_source_before_it_is_checked(tmp_path: Path) -> None:
    first = write(tmp_path / "first", GOOD, GOOD | {"answer": ""})
    second = write(tmp_path / "second", GOOD, GOOD | {"image": "absent.png"})
    assert len(load_rows(f"{first},{second}", max_samples=1)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "absent.png"}, "absent.png does not exist; mend the image or its path"),
        ({"image": "rows.jsonl"}, "rows.jsonl is not an image"),
        ({"image": None}, "no image is named; fill 'images' or 'image'"),
        ({"images": []}, "1 <image> in the prompt for 0 images"),
        ({"problem": " "}, "the prompt is empty; write the problem's text"),
        ({"problem": "<image>\n"}, "the prompt is empty"),
        ({"answer": None}, "the label is missing or empty; fill 'answer' or 'solution'"),
        ({"answer": " "}, "the label is missing or empty"),
        ({"answer": "<answer></answer>"}, "the label is missing or empty"),
        ({"problem": "<image><image>Find x."}, "2 <image> in the prompt for 1 images; write one for each image"),
        ({"images": ["a.png", "a.png"]}, "1 <image> in the prompt for 2 images"),
    ],
)
def test_a_bad_row_stops_the_load_and_is_named(tmp_path: Path, change: dict, message: str) -> None:
    file = write(tmp_path, GOOD, GOOD, GOOD | change)
    with pytest.raises(ValueError, match=message) as caught:
        load_rows(file)
    assert str(caught.value).startswith(f"{file}:row 3: ")
    assert "\n" not in str(caught.value)


def test_a_truncated_image_stops_the_load(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD, GOOD | {"image": "cut.png"})
    data = png()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="rows.jsonl:row 2: .*cut.png cannot be decoded"):
        load_rows(file)


def test_a_source_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows.jsonl: no rows in it"):
        load_rows(write(tmp_path))


@pytest.mark.parametrize("names", ["", "a.jsonl,", ",a.jsonl"])
def test_an_empty_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "rows.jsonl").rename(tmp_path / "a.jsonl")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="has an empty name in it"):
        load_rows(names)

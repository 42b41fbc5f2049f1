from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pepo_rlhf.data import Row, load_rows, row_checker
from pepo_rlhf.data.bad_rows import PlaceholderMismatch
from pepo_rlhf.data.row_checker import RowChecker

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
    (row,) = load_rows(file).rows
    assert row.prompt == "<image><image>\nSame?"


def test_a_placeholder_in_the_system_message_is_refused(tmp_path: Path) -> None:
    row = Row(prompt="Find x.", images=(), label="3", source="a:row 1", datasource="a", system="See <image>.")
    with pytest.raises(PlaceholderMismatch, match="a:row 1: <image> in the system message"):
        RowChecker(image_root=str(tmp_path)).check(row)


def test_rows_with_placeholders_stay_as_they_are(tmp_path: Path) -> None:
    (row,) = load_rows(write(tmp_path, GOOD)).rows
    assert row.prompt == "<image>Find x."


def test_a_problem_without_an_image_says_so_with_an_empty_list(tmp_path: Path) -> None:
    (row,) = load_rows(write(tmp_path, {"images": [], "problem": "What is 6 + 7?", "answer": "13"})).rows
    assert (row.images, row.prompt) == ((), "What is 6 + 7?")


def test_sources_separated_by_commas_are_concatenated(tmp_path: Path) -> None:
    first = write(tmp_path / "first", GOOD, GOOD)
    second = write(tmp_path / "second", GOOD | {"answer": "14"})
    rows = load_rows(f"{first}, {second}").rows
    assert [(row.label, row.datasource) for row in rows] == [("13", "first/rows")] * 2 + [("14", "second/rows")]


def test_max_samples_limits_each_source_before_it_is_checked(tmp_path: Path) -> None:
    first = write(tmp_path / "first", GOOD, GOOD | {"answer": ""})
    second = write(tmp_path / "second", GOOD, GOOD | {"image": "absent.png"})
    assert len(load_rows(f"{first},{second}", max_samples=1).rows) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "absent.png"}, "absent.png does not exist; mend the image or its path"),
        ({"image": "rows.jsonl"}, "rows.jsonl is not an image"),
        ({"image": None}, "no image is named; fill 'images' or 'image'"),
        ({"images": [], "image": None}, "1 <image> in the prompt for 0 images"),
        ({"problem": " "}, "the prompt is empty; write the problem's text"),
        ({"problem": "<image>\n"}, "the prompt is empty"),
        ({"answer": None}, "the label is missing or empty; fill 'answer' or 'solution'"),
        ({"answer": " "}, "the label is missing or empty"),
        ({"answer": "<answer></answer>"}, "the label is missing or empty"),
        ({"problem": "<image><image>Find x."}, "2 <image> in the prompt for 1 images; write one for each image"),
        ({"image": None, "images": ["a.png", "a.png"]}, "1 <image> in the prompt for 2 images"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problem": "<image>Find \ud835."}, "half of a surrogate pair in its text"),
        ({"answer": "\ud835"}, "half of a surrogate pair in its text"),
        ({"problem": "<|image_pad|>Find x."}, r"<\|image_pad\|> in its text belongs to the model; write <image>"),
        (
            {"problem": "Same?", "image": None, "images": ["a.png", "a.png"]},
            "2 images, where --data.max_images_per_prompt allows 1",
        ),
        ({"image": "https://example.org/a.png"}, "https://example.org/a.png is not fetched; set --data.fetch_urls"),
        ({"image": "narrow.png"}, "an image of 1 x 201 pixels is too narrow"),
    ],
)
def test_a_row_that_no_run_could_use_is_named(tmp_path: Path, change: dict, message: str) -> None:
    file = write(tmp_path, GOOD, GOOD | change)
    Image.new("L", (1, 201)).save(tmp_path / "narrow.png")
    with pytest.raises(ValueError, match=f"rows.jsonl:row 2: {message}"):
        load_rows(file, max_images=1, reserved_tokens=["<|image_pad|>"])


def test_an_image_at_a_url_is_fetched_into_bytes_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, asked = png(), []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return image

    monkeypatch.setattr(row_checker, "fetch_image", fetch)
    file = write(tmp_path, GOOD | {"image": "https://example.org/a.png"})
    (row,) = load_rows(file, fetch_urls=True).rows
    assert (asked, row.images) == (["https://example.org/a.png"], (image,))


@pytest.mark.parametrize("answer", [b"<html>Not found</html>", ValueError("the server answers 404 Not Found")])
def test_a_url_without_an_image_is_named_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | ValueError
) -> None:
    def fetch(url: str) -> bytes:
        if isinstance(answer, ValueError):
            raise answer
        return answer

    monkeypatch.setattr(row_checker, "fetch_image", fetch)
    file = write(tmp_path, GOOD, GOOD | {"image": "https://example.org/a.png"})
    with pytest.raises(ValueError, match="rows.jsonl:row 2: https://example.org/a.png: .*mend the URL"):
        load_rows(file, fetch_urls=True)


BAD = (GOOD | {"answer": ""}, GOOD | {"image": "absent.png"}, GOOD | {"problem": 7}, {}, GOOD | {"image": None})


def test_skipped_rows_are_counted_and_the_first_reasons_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path, BAD[0], GOOD, *BAD[1:], GOOD | {"answer": "14"})
    with open(file, "a") as lines:
        lines.write('{"image": \n')
    loaded = load_rows(file, on_bad_row="skip")
    assert [row.label for row in loaded.rows] == ["13", "14"]
    assert loaded.num_skipped == 6
    (warning,) = caplog.messages
    assert warning.startswith(f"{file}: 6 rows are skipped: {file}:row 1: the label is missing")
    assert [f"rows.jsonl:row {number}:" in warning for number in range(1, 9)] == [True, False, True, True] + [False] * 4


def test_nothing_is_said_where_nothing_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_rows(write(tmp_path, GOOD), on_bad_row="skip").num_skipped == 0
    assert caplog.messages == []


def test_max_samples_counts_good_rows(tmp_path: Path) -> None:
    loaded = load_rows(write(tmp_path, BAD[0], GOOD, BAD[1], GOOD, BAD[2]), max_samples=2, on_bad_row="skip")
    assert (len(loaded.rows), loaded.num_skipped) == (2, 2)


def test_a_source_of_bad_rows_only_is_an_error_also_with_skip(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good", GOOD), write(tmp_path / "bad", *BAD)
    with pytest.raises(ValueError, match="bad/rows.jsonl: none of its 5 rows can be trained on: .*row 1: the label"):
        load_rows(f"{good},{bad}", on_bad_row="skip")


def test_a_source_that_cannot_be_read_is_an_error_also_with_skip() -> None:
    with pytest.raises(ValueError, match="nowhere.jsonl: no such file"):
        load_rows("nowhere.jsonl", on_bad_row="skip")

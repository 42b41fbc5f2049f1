from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pepo_rlhf.data import load_rows
from pepo_rlhf.data.geometry3k import read_problem_folders
from pepo_rlhf.data.records import row_from_record

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "geometry3k_sample"
PROBLEM = {"problem_text": "Find y.", "choices": ["5", "5 \\sqrt { 2 }", "5 \\sqrt { 3 }", "10"], "answer": "C"}


def write(folder: Path, number: int, problem: dict) -> None:
    (folder / str(number)).mkdir()
    (folder / str(number) / "data.json").write_text(json.dumps(problem))


def test_the_label_is_the_text_of_the_chosen_choice(tmp_path: Path) -> None:
    write(tmp_path, 15, PROBLEM)
    (read,) = read_problem_folders(tmp_path, "Geometry3K")
    row = row_from_record(*read())
    assert row.prompt == "Find y."
    assert row.images == (str(tmp_path / "15" / "img_diagram.png"),)
    assert row.label == r"5 \sqrt { 3 }"
    assert (row.source, row.datasource) == (str(tmp_path / "15"), "Geometry3K")


def test_problems_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write(tmp_path, number, PROBLEM)
    assert [Path(read().source).name for read in read_problem_folders(tmp_path, "")] == ["1", "2", "10"]


@pytest.mark.parametrize("answer", ["E", "5", "", None])
def test_an_answer_that_is_no_choice_is_refused(tmp_path: Path, answer: str | None) -> None:
    write(tmp_path, 15, PROBLEM | {"answer": answer})
    (read,) = read_problem_folders(tmp_path, "")
    with pytest.raises(ValueError, match="15/data.json: 'answer' is .* none of the choices"):
        read()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (float("inf"), "the label inf is no number"),
        ({"x": 5}, "must be a text or a number"),
        (True, "must be a text or"),
    ],
)
def test_a_choice_that_is_no_label_is_refused(tmp_path: Path, choice: Any, message: str) -> None:
    write(tmp_path, 15, PROBLEM | {"choices": ["1", "2", choice, "4"]})
    (read,) = read_problem_folders(tmp_path, "")
    with pytest.raises(ValueError, match=f"/15: .*{message}"):
        row_from_record(*read())


def test_a_choice_that_is_missing_is_no_label(tmp_path: Path) -> None:
    write(tmp_path, 15, PROBLEM | {"choices": ["1", "2", None, "4"]})
    with pytest.raises(ValueError, match="15: the label is missing or empty"):
        load_rows(str(tmp_path))


@pytest.mark.parametrize("problem", [[], {}, PROBLEM | {"choices": "5"}, PROBLEM | {"problem_text": None}])
def test_a_file_of_another_form_is_named(tmp_path: Path, problem: Any) -> None:
    write(tmp_path, 15, problem)
    (read,) = read_problem_folders(tmp_path, "")
    with pytest.raises(ValueError, match="15/data.json: a problem has the text 'problem_text'"):
        read()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "15").mkdir()
    (tmp_path / "15" / "data.json").write_text('{"problem_text": "Fi')
    (read,) = read_problem_folders(tmp_path, "")
    with pytest.raises(ValueError, match="15/data.json: not valid JSON"):
        read()


def test_the_real_sample_loads() -> None:
    if not SAMPLE.is_dir():
        pytest.skip(f"the Geometry3K sample is not at {SAMPLE}")
    rows = load_rows(str(SAMPLE)).rows
    root, fraction = r"5 \sqrt { 3 }", r"\frac { 2 \sqrt { 2 } } { 5 }"
    assert [row.label for row in rows] == ["80", "13", "9", "48", root, "10", "120", "22", fraction, "16"]
    assert rows[1].prompt == "<image>\nFind x."
    assert [Path(str(image)).name for row in rows for image in row.images] == [f"{n}.png" for n in range(11, 21)]
    assert {row.datasource for row in rows} == {"geometry3k_sample"}

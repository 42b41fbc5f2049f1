"""Records as the hub has them, written to local files by the tests and read back through the real path."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from pepo_rlhf.data import Row
from pepo_rlhf.data.bad_rows import LabelError, OutsideProtocol
from pepo_rlhf.tasks import find_task, read_problems, thousandths

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "geometry3k_sample"


def png(side: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "white").save(buffer, "PNG")
    return buffer.getvalue()


def read(task: str, source: Path, split: str = "test") -> list:
    return list(read_problems(find_task(task), str(source), split, thousandths()))


def write_hub(folder: Path, split: str, records: list[dict], **features) -> Path:
    """A parquet shard as `push_to_hub` lays it out, images as structs of bytes."""
    (folder / "data").mkdir()
    dataset = datasets.Dataset.from_list(records).cast(
        datasets.Features(datasets.Dataset.from_list(records).features | features)
    )
    dataset.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


IMAGE = {"bytes": png(), "path": None}


def test_geometry3k(tmp_path: Path) -> None:
    record = {"images": [IMAGE], "problem": "<image>Find x.", "answer": "13"}
    write_hub(tmp_path, "test", [record], images=datasets.Sequence(datasets.Image()))
    (row,) = read("geometry3k", tmp_path)
    assert (row.prompt, row.images, row.label) == ("<image>Find x.", (png(),), "13")


@pytest.mark.skipif(not SAMPLES.exists(), reason="the ten real problems are not beside the repository")
def test_real_geometry3k_problems() -> None:
    rows = read("geometry3k", SAMPLES)
    assert len(rows) == 10
    assert all(isinstance(row, Row) for row in rows)
    assert (rows[1].prompt, rows[1].label) == ("Find x.", "13")


def test_virl39k_boxes_come_off_and_letters_are_choices(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    records = [
        {"question": "<image>Find x.", "answer": r"\boxed{\frac{1}{2}}", "image": ["a.png"], "qid": "1"},
        {"question": "<image>Which? A. 1 B. 2", "answer": r"\boxed{B}", "image": ["a.png"], "qid": "2"},
        {"question": "Text only.", "answer": "7", "image": [], "qid": "3"},
        {"question": "<image>\nA. 1\nB. 2\nC. 3", "answer": r"\boxed{B}", "image": ["a.png"], "qid": "4"},
        {"question": "<image>\nA. 1\nB. 2", "answer": r"\boxed{D}", "image": ["a.png"], "qid": "5"},
        {"question": "Which two?", "answer": r"\boxed{B}, \boxed{C}", "image": [], "qid": "6"},
    ]
    datasets.Dataset.from_list(records).to_parquet(tmp_path / "39Krl.parquet")
    rows = read("virl39k", tmp_path / "39Krl.parquet")
    assert [rows[0].label, rows[2].label] == [r"\frac{1}{2}", "7"]
    assert json.loads(rows[1].label) == {"choice": "B", "options": ["1", "2"]}
    assert json.loads(rows[3].label) == {"choice": "B", "options": ["1", "2", "3"]}
    assert rows[4].label == '{"choice": "D"}', "a letter beyond the options that were read"
    assert rows[5].label == r"\boxed{B}, \boxed{C}"
    assert rows[0].images == (str(tmp_path / "a.png"),)
    assert rows[2].images == ()


MATHVISTA = {
    "pid": "1",
    "question": "Which bar is tallest?",
    "image": "images/1.jpg",
    "decoded_image": IMAGE,
    "choices": ["red", "blue"],
    "unit": None,
    "precision": None,
    "answer": "blue",
    "question_type": "multi_choice",
    "answer_type": "text",
    "metadata": {"task": "figure question answering"},
    "query": "Hint: give the letter.\nQuestion: Which bar is tallest?\nChoices:\n(A) red\n(B) blue",
}


def test_mathvista_asks_its_query_and_grades_by_question_type(tmp_path: Path) -> None:
    free = {"question_type": "free_form", "choices": None}
    records = [
        MATHVISTA,
        MATHVISTA | free | {"answer": "1.2", "answer_type": "float", "precision": 1.0},
        MATHVISTA | free | {"answer": "14", "answer_type": "integer"},
        MATHVISTA | free | {"answer": "[1, 2]", "answer_type": "list"},
        MATHVISTA | {"answer": "blue", "choices": ["red", " blue "]},
        MATHVISTA | {"decoded_image": None, "image": None},
        MATHVISTA | {"answer": "green"},
        MATHVISTA | free | {"answer": "", "answer_type": "float", "precision": 1.0},
    ]
    *rows, no_image, error, no_number = read(
        "mathvista", write_hub(tmp_path, "testmini", records, decoded_image=datasets.Image()), "testmini"
    )
    assert rows[0].prompt == MATHVISTA["query"]
    assert rows[0].images == (png(),)
    assert json.loads(rows[0].label) == {"choice": "B", "options": ["red", "blue"], "closest": True}
    assert json.loads(rows[1].label) == {"number": "1.2", "precision": 1}
    assert [row.label for row in rows[2:4]] == ["14", "[1, 2]"]
    assert rows[4].label == rows[0].label
    assert "row 6" in str(no_image) and "no image is named" in str(no_image)
    assert "row 7" in str(error) and "'green'" in str(error)
    assert "row 8" in str(no_number) and "is no number" in str(no_number)


def test_mathvista_columns_as_copies_write_them(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    choice = MATHVISTA | {"decoded_image": "a.png", "answer": 4, "choices": [3, 4], "question_type": "multi-choice"}
    choice["query"] = "Which is more?"
    number = MATHVISTA | {"decoded_image": "a.png", "answer": 1.2, "question_type": "free_form"}
    records = [choice, choice | {"choices": "['3', '4']"}, number | {"answer_type": "float", "precision": "1.0"}]
    source = tmp_path / "testmini.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    numbers, text, rounded = read("mathvista", source)
    assert json.loads(numbers.label) == {"choice": "B", "options": ["3", "4"], "closest": True}
    assert "row 2" in str(text) and "the choices are no list" in str(text), "not letters of the text"
    assert json.loads(rounded.label) == {"number": "1.2", "precision": 1}


def test_mathvista_options_have_the_letters_of_the_query(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    query = "When?\nChoices:\n(A) 11:30\n(B) 4:30\n(C) 9:30"
    record = MATHVISTA | {"decoded_image": "a.png", "query": query, "question_type": "multi-choice"}
    other = {"choices": ["9:30", "1:30", "4:30"]}
    source = tmp_path / "testmini.jsonl"
    records = [record | other | {"answer": "4:30"}, record | other | {"answer": "1:30"}]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    reordered, absent = read("mathvista", source)
    assert json.loads(reordered.label) == {"choice": "B", "options": ["11:30", "4:30", "9:30"], "closest": True}
    assert isinstance(absent, LabelError), "the query does not offer the answer"


@pytest.mark.parametrize(
    "question",
    [
        "Find x. (A) 30 (B) 45 (C) 60",
        "Find x. A. 30 B. 45 C. 60",
        "Find x.\nA、30\nB、45\nC、60",
        "Find x.\nA：30\nB：45\nC：60",
        "Find x.\n(A) 30; (B) 45; (C) 60",
        "In (A) and (B)?\nA. 30\nB. 45\nC. 60",
    ],
)
def test_options_in_lines_and_in_one_line_are_read(tmp_path: Path, question: str) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"question": question, "answer": r"\boxed{B}", "image": []}))
    (row,) = read("virl39k", source)
    assert json.loads(row.label) == {"choice": "B", "options": ["30", "45", "60"]}


@pytest.mark.parametrize(
    "question", ["Which? A, B, C, or D.", "Is (A) or (C) larger?", "Points A. Then B", "(B) 1 (A) 2"]
)
def test_letters_that_are_no_options_are_not_read_as_such(tmp_path: Path, question: str) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"question": question, "answer": r"\boxed{B}", "image": []}))
    (row,) = read("virl39k", source)
    assert row.label == '{"choice": "B"}'


MATHVERSE = {
    "sample_index": "1",
    "problem_index": "1",
    "problem_version": "Text Dominant",
    "question": "Find angle 1.\nChoices:\nA:30°\nB:40°",
    "image": IMAGE,
    "answer": "B",
    "question_type": "multi-choice",
    "metadata": {"subject": "Plane Geometry"},
    "query_wo": "",
    "question_for_eval": "Find angle 1.",
}


def test_mathverse_letters_free_forms_and_questions_in_the_image(tmp_path: Path) -> None:
    records = [
        MATHVERSE,
        MATHVERSE | {"question": "", "problem_version": "Vision Only"},
        MATHVERSE | {"question": "Find x.", "question_type": "free-form", "answer": r"$\frac{1}{2}$"},
        MATHVERSE | {"image": None},
        MATHVERSE | {"question": "", "question_for_eval": MATHVERSE["question"]},
    ]
    datasets.Dataset.from_list(records).cast_column("image", datasets.Image()).to_parquet(tmp_path / "testmini.parquet")
    first, vision_only, free, blind, written_out = read("mathverse", tmp_path, "testmini")
    assert (written_out.label, written_out.prompt) == (first.label, vision_only.prompt)
    assert json.loads(first.label) == {"choice": "B", "options": ["30°", "40°"]}
    by_letter = "Answer with the option's letter from the given choices directly."
    assert first.prompt == f"{MATHVERSE['question']}\n{by_letter}"
    assert vision_only.prompt == f"Answer the question in the image.\n{by_letter}"
    assert free.prompt == "Find x."
    assert vision_only.label == '{"choice": "B"}'
    assert free.label == r"$\frac{1}{2}$"
    assert "row 4" in str(blind) and "no image is named" in str(blind)
    *kept, left_out, _, _ = read("mathverse_choice", tmp_path, "testmini")
    assert [row.label for row in kept] == [first.label, vision_only.label]
    assert isinstance(left_out, OutsideProtocol)


def test_logicvista_leaves_several_letters_out(tmp_path: Path) -> None:
    record = {
        "id": 1,
        "question": "Which comes next? A, B, C, or D.",
        "answer": "C",
        "image": IMAGE,
        "skill": ["spatial"],
    }
    records = [record, record | {"answer": "A, C"}, record | {"answer": "c"}, record | {"answer": None}]
    first, several, small, missing = read("logicvista", write_hub(tmp_path, "test", records, image=datasets.Image()))
    assert (first.prompt, first.label) == (record["question"], '{"choice": "C", "closest": true}')
    assert isinstance(several, OutsideProtocol) and "row 2" in str(several)
    assert small.label == first.label
    assert "'answer' is missing" in str(missing)

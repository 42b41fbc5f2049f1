from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.rewards import load_rewards
from pepo_rlhf.tasks import find_task, read_problems, thousandths

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "puzzlevqa_sample" / "puzzles.jsonl"
CLOCK = "What will be the time when the event starts?"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(buffer, "PNG")
    return buffer.getvalue()


def read(task: str, source: Path, split: str) -> list:
    return list(read_problems(find_task(task), str(source), split, thousandths()))


def test_puzzlevqa_lists_its_options_and_asks_for_a_letter(tmp_path: Path) -> None:
    record = {
        "image": {"bytes": png(), "path": None},
        "question": "What is the missing colour?",
        "options": ["green", "red", "orange"],
        "answer": "red",
        "caption": "There are six circles.",
        "explanation": "",
        "deduction": "",
    }
    (tmp_path / "data").mkdir()
    dataset = datasets.Dataset.from_list([record, record | {"answer": "pink"}]).cast_column("image", datasets.Image())
    dataset.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    row, error = read("puzzlevqa", tmp_path, "train")
    assert row.prompt == (
        "What is the missing colour?\nOptions:\nA. green\nB. red\nC. orange\n"
        "Answer with the letter of the right option."
    )
    assert json.loads(row.label) == {"choice": "B", "options": ["green", "red", "orange"]}
    assert isinstance(error, LabelError) and "'pink' is 0 times among the options" in str(error)


def test_algopuzzlevqa_numbers_are_options_and_rows_without_options_are_graded_by_their_answer(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    records = [
        {"image": "a.png", "question": "How many?", "options": [6, 3, 4.5], "answer": 3},
        {"image": "a.png", "question": CLOCK, "answer": "4:23", "solution": {"current_hour": 2}},
        {"image": "a.png", "question": CLOCK, "answer": "4:23", "options": []},
        {"image": "a.png", "question": CLOCK, "answer": "4:23", "options": "['4:23', '5:23']"},
    ]
    source = tmp_path / "clock.json"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    number, time, empty, text = read("algopuzzlevqa", source, "data")
    assert json.loads(number.label) == {"choice": "B", "options": ["6", "3", "4.5"]}
    assert (time.prompt, time.label) == (empty.prompt, empty.label) == (CLOCK, "4:23")
    assert "row 4" in str(text) and "a list in 'options'" in str(text)
    without_letters = read("puzzlevqa", source, "data")[1:]
    assert ["a list in 'options'" in str(error) for error in without_letters] == [True] * 3


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sixteen real puzzles are not beside the repository")
def test_the_sixteen_real_puzzles_are_graded_by_letter_and_by_value() -> None:
    reward = load_rewards(["choice"])
    records = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    rows = read("puzzlevqa", SAMPLES, "train")
    assert len(rows) == 16
    for row, record in zip(rows, records, strict=True):
        letter = "ABCD"[[str(option) for option in record["options"]].index(record["answer"])]
        for option, text in zip("ABCD", record["options"], strict=False):
            for answer in (option, f"({option})", f"{option}. {text}", str(text)):
                right = reward(f"<think></think><answer>{answer}</answer>", row.label)["choice"]
                assert right == (option == letter), (answer, record)

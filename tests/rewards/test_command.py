"""python -m pepo_rlhf.reward, as its users start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pepo_rlhf.reward import read_completions, report
from pepo_rlhf.rewards import Grade

GOOD = "<think>30 + 50</think><answer>80</answer>"


def run(*flags: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pepo_rlhf.reward", *flags], capture_output=True, text=True)


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_means_errors_and_output(tmp_path: Path, odd_file: Path) -> None:
    rows = [
        {"response": GOOD, "label": "80", "id": 7},
        {"response": "raise_error", "label": "80"},
        {"response": "80", "answer": 80},
    ]
    file, output = write(tmp_path / "completions.jsonl", *rows), tmp_path / "grades.jsonl"
    done = run("--file", file, "--functions", "format", f"{odd_file}:odd", "--output", str(output))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "2 of 3 responses graded",
        "format               0.5000",
        "odd                  1.0000",
        "row 2: ZeroDivisionError: division by zero raised by the reward component 'odd'",
    ]
    first, second, third = map(json.loads, output.read_text().splitlines())
    assert first == {**rows[0], "components": {"format": 1.0, "odd": 1.0}, "error": None}
    assert "return 1 / 0" in second["error"]
    assert third["components"] == {"format": 0.0, "odd": 1.0}


def test_only_the_report_is_written_by_default(tmp_path: Path) -> None:
    done = run("--file", write(tmp_path / "completions.jsonl", {"response": GOOD, "label": "80"}))
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["completions.jsonl"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"response": "a"}',
        '{"label": "a"}',
        '{"response": 1, "label": "a"}',
        '{"response": "a", "label": null}',
        "",
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text(f'{{"response": "a", "label": "b"}}\n{line}\n')
    with pytest.raises(ValueError, match="completions.jsonl row 2") as caught:
        read_completions(file)
    assert "\n" not in str(caught.value)


def test_rows_end_at_line_feeds_only(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    file.write_text('{"response": "a\u2028b", "label": "c"}\n', encoding="utf-8")
    assert read_completions(file) == [{"response": "a\u2028b", "label": "c"}]


@pytest.mark.parametrize("flags", [["--file", "absent.jsonl"], ["--file", "{file}", "--functions", "acuracy"]])
def test_a_mistake_is_told_in_one_line(tmp_path: Path, flags: list[str]) -> None:
    file = write(tmp_path / "completions.jsonl", {"response": GOOD, "label": "80"})
    done = run(*(flag.format(file=file) for flag in flags))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert flags[-1].format(file=file) in done.stderr


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        read_completions(Path(write(tmp_path / "completions.jsonl")))


def test_a_report_without_a_single_grade() -> None:
    grade = Grade({"format": 0.0}, 0.0, "no result within 1 s")
    assert report([grade]) == "0 of 1 responses graded\nrow 1: no result within 1 s"

"""The command on files with one of everything that can be wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pepo_rlhf import prepare
from pepo_rlhf.data import decode_image, load_rows
from pepo_rlhf.rewards import load_rewards
from pepo_rlhf.toy import grounding
from pepo_rlhf.toy.dataset import write_rows


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pepo_rlhf.prepare", *flags], capture_output=True, text=True)


def count(output: str, split: str, line: str) -> str:
    """What the text report says of a split."""
    section = output.split(f"geometry3k, {split}\n")[1]
    found = re.search(rf"^  {re.escape(line)} +(.*)$", section, re.MULTILINE)
    assert found is not None, output
    return found.group(1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """train.jsonl with eight records, three of them good; test.jsonl with a copy of one of those."""
    folder = tmp_path / "source"
    folder.mkdir()
    Image.effect_noise((40, 40), 50).save(folder / "a.png")
    Image.effect_noise((40, 40), 50).save(folder / "b.png")
    (folder / "copy of a.bmp").write_bytes(b"")
    with Image.open(folder / "a.png") as image:
        image.save(folder / "copy of a.bmp")  # the same pixels in another file
    (folder / "damaged.png").write_bytes((folder / "a.png").read_bytes()[:100])
    good = {"image": "a.png", "problem": "Find x.", "answer": "13"}
    train = [
        good,
        good | {"image": "b.png", "answer": "3 cm at most"},
        good | {"image": "copy of a.bmp"},
        good | {"image": "damaged.png"},
        good | {"image": "absent.png"},
        good | {"problem": "<image><image>Find x."},
        good | {"answer": ""},
        {"picture": "a.png"},
    ]
    for split, records in (("train", train), ("test", [good])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_everything_wrong_is_counted_and_the_rest_is_written(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run("geometry3k", "--source", str(source), "--split", "train", "test", "--output", str(output))
    assert done.returncode == 0, done.stderr
    expected = {
        "records": "8",
        "rows": "3",
        "unparsable answers": "1",
        "records of another schema": "1",
        "texts that are missing or cannot be encoded": "0",
        "images that do not decode": "2",
        "placeholder mismatches": "1",
        "prompts that do not fit": "0",
        "answers compared as text only (kept)": "1",
        "visual tokens of a prompt: min / median / 95% / max": "not measured: give --model",
    }
    assert {line: count(done.stdout, "train", line) for line in expected} == expected
    assert count(done.stdout, "test", "train") == "1", "copy of a.bmp has the pixels of a.png"
    assert count(done.stdout, "test", "train and test") == "1"
    assert "damaged.png" in done.stdout and "absent.png" in done.stdout
    rows = load_rows(str(output / "train.parquet")).rows
    assert [(row.prompt, row.label) for row in rows] == [
        ("<image>\nFind x.", "13"),
        ("<image>\nFind x.", "3 cm at most"),
        ("<image>\nFind x.", "13"),
    ]
    assert rows[0].images == ((source / "a.png").read_bytes(),)
    assert sorted(path.name for path in output.iterdir()) == ["report.html", "test.parquet", "train.parquet"]


def test_the_page_needs_no_other_file_and_runs_nothing_of_the_data(source: Path, tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    record = {"image": "a.png", "problem": f"Find x. {script}", "answer": script}
    (source / "train.jsonl").write_text(json.dumps(record) + "\n" + json.dumps({script: 1}) + "\n")
    done = run("geometry3k", "--source", str(source), "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert 'src="data:image/png;base64,' in page


def test_tokens_are_counted_and_boxes_placed_by_the_models_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pepo_rlhf.toy.tiny_vlm import build_processor

    build_processor().save_pretrained(tmp_path / "model")
    rows = grounding.generate(3, seed=0)
    write_rows(tmp_path / "drawn.jsonl", rows, "refcoco")
    large = tmp_path / "large.png"
    rows[0].draw().resize((224, 224)).save(large)
    box = [2 * value for value in rows[0].shapes[0].box]
    with (tmp_path / "drawn.jsonl").open("a") as file:
        file.write(json.dumps({"image": str(large), "problem": rows[0].shapes[0].name, "solution": box}) + "\n")
        file.write(json.dumps({"image": str(large), "problem": "x" * 4000, "solution": box}) + "\n")
    source, output = str(tmp_path / "drawn.jsonl"), tmp_path / "out"
    flags = ["--model", str(tmp_path / "model"), "--max_len", "1000", "--max_new_tokens", "100"]
    monkeypatch.setattr(sys, "argv", ["prepare", "refcoco", "--source", source, "--output", str(output), *flags])
    assert prepare.main() == 0
    printed = capsys.readouterr().out
    # 112 x 112 pixels are 4 x 4 visual tokens of 28 x 28; the image of 224 x 224 is shrunk to that, its box with it.
    assert re.search(r"visual tokens of a prompt.* 16 / 16 / 16 / 16$", printed, re.MULTILINE)
    assert re.search(r"prompts that do not fit +1$", printed, re.MULTILINE)
    prepared = load_rows(str(output / "train.parquet")).rows
    assert [row.label for row in prepared] == [*(row.label for row in rows), rows[0].label]
    assert prepared[3].prompt == rows[0].problem
    assert decode_image(prepared[3].images[0]).size == (224, 224)
    reward = load_rewards(["iou"])
    assert reward(grounding.demonstration(rows[0]), prepared[3].label) == {"iou": 1.0}


def test_a_task_in_a_folder_outside_is_prepared(shapes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run(f"{shapes}:SHAPES", "--source", str(tmp_path / "shapes.jsonl"), "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert [row.label for row in load_rows(str(output / "train.parquet")).rows] == ['{"shape": "circle"}']


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["geometry"], "unknown task 'geometry'; choose one of"),
        (["counting"], "counting has no data set of its own"),
        (["geometry3k", "--source", "absent/folder/"], "absent/folder/: no such file or folder"),
        (["geometry3k", "--source", "a", "b", "--split", "x"], "2 sources for 1 splits"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, flags: list[str], message: str) -> None:
    done = run(*flags, "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}") and len(done.stderr.splitlines()) == 1


def test_a_split_without_a_row_is_an_error_that_says_why(source: Path, tmp_path: Path) -> None:
    (source / "train.jsonl").write_text('{"image": "absent.png", "problem": "Find x.", "answer": "13"}\n')
    done = run("geometry3k", "--source", str(source), "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "no row of the split 'train' can be trained on" in done.stderr and "absent.png" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []

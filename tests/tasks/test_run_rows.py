"""The rows of a run, as a run loads them: through its settings and the model's processor."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from PIL import Image

from pepo_rlhf.config import Config
from pepo_rlhf.tasks.run_rows import load_run_rows
from pepo_rlhf.toy import counting
from pepo_rlhf.toy.dataset import write_rows


@pytest.fixture(scope="module")
def processor():
    from pepo_rlhf.toy.tiny_vlm import build_processor

    return build_processor()


def write(folder: Path, *records: dict) -> str:
    """rows.jsonl with the records, beside a.png of 224 x 112 pixels."""
    Image.new("RGB", (224, 112), "white").save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


def test_the_settings_of_data_are_followed(tmp_path: Path, processor) -> None:
    data = Config().data
    data.on_bad_row, data.max_samples, data.max_images_per_prompt = "skip", 1, 2
    good = {"image": "a.png", "problem": "Find x.", "answer": "13"}
    two = {"images": ["a.png", "a.png"], "problem": "Same?", "answer": "yes"}
    loaded = load_run_rows(write(tmp_path, good | {"answer": ""}, two, good), "train", data, processor)
    assert ([row.label for row in loaded.rows], loaded.num_skipped) == (["yes"], 1)


def test_a_task_reads_the_data_set_as_it_was_published(tmp_path: Path, processor) -> None:
    data = Config().data
    data.task = "refcoco"
    published = {"image": "a.png", "answer": ["left man", "man in red"], "bbox": [0, 0, 112, 112]}
    loaded = load_run_rows(write(tmp_path, published), "val", data, processor)
    # 224 x 112 pixels are too many for the tiny model's 112 x 112: they are scaled by sqrt(1/2) to 158.4 x 79.2, and
    # each side down to a multiple of 28, so that half of the width is 70 pixels.
    assert [json.loads(row.label) for row in loaded.rows] == [{"box": [0, 0, 70, 56], "frame": [140, 56]}] * 2
    assert loaded.rows[1].prompt.startswith("<image>Where is man in red?")


def test_a_prompt_must_leave_room_for_the_response(tmp_path: Path, processor) -> None:
    data = Config().data
    source = write(tmp_path, {"image": "a.png", "problem": "Find x.", "answer": "13"})
    (length,) = load_run_rows(source, "train", data, processor).lengths
    data.max_len = length.total + 100
    assert load_run_rows(source, "train", data, processor, max_response=100).lengths == [length]
    with pytest.raises(ValueError, match=f"a prompt of {length.total} tokens .*, where {length.total - 1} leave room"):
        load_run_rows(source, "train", data, processor, max_response=101)


def test_a_model_that_cuts_images_into_tiles_is_asked_in_thousandths(tmp_path: Path, processor) -> None:
    data = Config().data
    data.task = "refcoco"
    tiles = copy.copy(processor)
    tiles.image_processor = copy.copy(processor.image_processor)
    tiles.image_processor.model_input_names = ["pixel_values"]
    published = {"image": "a.png", "answer": ["left man"], "bbox": [0, 0, 112, 112]}
    (row,) = load_run_rows(write(tmp_path, published), "val", data, tiles).rows
    assert json.loads(row.label) == {"box": [0, 0, 500, 1000], "frame": [1000, 1000]}


def test_records_of_another_schema_stop_the_run_or_are_counted(tmp_path: Path, processor) -> None:
    data = Config().data
    data.task = "refcoco"
    source = write(tmp_path, {"image": "a.png"}, {"image": "a.png", "answer": ["left man"], "bbox": [0, 0, 9, 9]})
    with pytest.raises(ValueError, match="rows.jsonl:row 1: the schema is unknown"):
        load_run_rows(source, "val", data, processor)
    data.on_bad_row = "skip"
    assert load_run_rows(source, "val", data, processor).num_skipped == 1


def test_what_prepare_wrote_is_read_with_and_without_the_task(tmp_path: Path, processor) -> None:
    write_rows(tmp_path / "train.jsonl", counting.generate(2, seed=0), "counting")
    data = Config().data
    plain = load_run_rows(str(tmp_path / "train.jsonl"), "train", data, processor)
    data.task = "counting"
    assert load_run_rows(str(tmp_path / "train.jsonl"), "train", data, processor) == plain


def test_a_task_in_a_folder_outside_reads_its_own_columns(shapes: Path, tmp_path: Path, processor) -> None:
    data = Config().data
    data.task = f"{shapes}:SHAPES"
    (row,) = load_run_rows(str(tmp_path / "shapes.jsonl"), "train", data, processor).rows
    assert row.prompt == "<image>\nWhich shape?"


def test_rows_get_instruction_and_system_prompt_of_the_settings(tmp_path: Path, processor) -> None:
    data = Config().data
    (tmp_path / "system.txt").write_text("You are a geometer.\n")
    data.instruction, data.system_prompt = "Use <answer>.", str(tmp_path / "system.txt")
    messages = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "<image>Find y."}]
    records = (
        {"image": "a.png", "problem": "Find x.", "answer": "1"},
        {"image": "a.png", "messages": messages, "answer": "2"},
    )
    first, second = load_run_rows(write(tmp_path, *records), "train", data, processor).rows
    assert (first.instruction, first.system, second.system) == ("Use <answer>.", "You are a geometer.", "Mine.")


@pytest.mark.parametrize(
    ("flag", "text"),
    [("instruction", "Look at <image>."), ("system_prompt", "missing.txt"), ("instruction", "<|im_end|>")],
)
def test_texts_that_would_break_a_prompt_are_refused(flag: str, text: str, tmp_path: Path, processor) -> None:
    data = Config().data
    setattr(data, flag, text)
    with pytest.raises(ValueError, match="take <image> out|no such file|belongs to the model"):
        load_run_rows(write(tmp_path, {"image": "a.png", "problem": "x?", "answer": "1"}), "train", data, processor)

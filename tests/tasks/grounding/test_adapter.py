from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.data.images import decode_image
from pepo_rlhf.tasks import Frame, find_task, pixels, read_problems, thousandths


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = {"bytes": png(200, 100), "path": None}
HALVED = Frame(lambda image: (image.width // 2, image.height // 2), "A frame of {width} x {height}.")


def read(task: str, source: Path, frame: Frame, split: str = "val") -> list:
    return list(read_problems(find_task(task), str(source), split, frame))


def jsonl(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_refcoco_has_a_row_for_each_expression_and_its_box_in_the_frame(tmp_path: Path) -> None:
    record = {
        "question_id": "1",
        "image": PICTURE,
        "question": "Please describe the region.",
        "answer": ["left man", " man in red"],
        "segmentation": [1.0],
        "bbox": [20.0, 10.0, 60.0, 50.0],  # x, y, width, height
        "iscrowd": 0,
        "file_name": "COCO_train2014_1.jpg",
    }
    (tmp_path / "data").mkdir()
    dataset = datasets.Dataset.from_list([record]).cast_column("image", datasets.Image())
    dataset.to_parquet(tmp_path / "data" / "val-00000-of-00001.parquet")
    first, second = read("refcoco", tmp_path, thousandths())
    # 200 x 100 pixels become 1000 x 1000: x times 5, y times 10.
    assert json.loads(first.label) == {"box": [100, 100, 400, 600], "frame": [1000, 1000]}
    assert first.prompt.startswith("<image>Where is left man? Give its bounding box as [x1, y1, x2, y2].")
    assert "0 to 1000" in first.prompt
    assert "Where is man in red?" in second.prompt and second.label == first.label
    (halved, _) = read("refcoco", tmp_path, HALVED)
    assert json.loads(halved.label) == {"box": [10, 5, 40, 30], "frame": [100, 50]}
    assert halved.prompt.endswith("A frame of 100 x 50.")


def test_boxes_as_corners_and_images_by_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE["bytes"])
    corners = {"bbox": [20, 10, 80, 60], "image_path": "a.png"}
    source = jsonl(
        tmp_path / "rows.jsonl",
        corners | {"sentences": [{"sent": "left man", "sent_id": 1}], "captions": ["left man"]},
        corners | {"captions": ["left man"]},
        {"image": "a.png", "problem": "left man", "solution": [20, 10, 80, 60]},
        {"image": "a.png", "problem": "Find: left man", "normal_caption": "left man", "solution": [20, 10, 80, 60]},
        {"image": "a.png", "text": "left man", "bbox": [20, 10, 80, 60]},
    )
    rows = read("refcoco", source, thousandths())
    assert len(rows) == 5
    assert {row.label for row in rows} == {'{"box": [100.0, 100.0, 400.0, 600.0], "frame": [1000, 1000]}'}
    assert all("Where is left man?" in row.prompt for row in rows)


def test_lisa_boxes_its_masks_and_reads_an_array_of_json(tmp_path: Path) -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[10:60, 20:80] = True
    record = {"image": PICTURE, "text": "what one can drink from", "mask": mask.tolist(), "image_id": "1"}
    other_size, blank = mask[:, :100].tolist(), np.zeros_like(mask).tolist()
    dataset = datasets.Dataset.from_list([record, record | {"mask": blank}, record | {"mask": other_size}])
    dataset.to_parquet(tmp_path / "test-0.parquet")
    row, empty, other = read("lisa", tmp_path, thousandths(), "test")
    assert json.loads(row.label)["box"] == [100, 100, 400, 600]
    assert isinstance(empty, LabelError) and "mask is empty" in str(empty) and "row 2" in str(empty)
    assert isinstance(other, LabelError) and "100 x 100 pixels and the image 200 x 100" in str(other)
    (tmp_path / "a.png").write_bytes(PICTURE["bytes"])
    array = tmp_path / "lisa_test.json"
    array.write_text(json.dumps([{"image": "a.png", "problem": "the cup", "solution": [20, 10, 80, 60]}]))
    assert [problem.label for problem in read("lisa", array, thousandths())] == [row.label]


@pytest.mark.parametrize("box", [[80, 10, 20, 60], [20, 10, 20, 60], [20, 10, 800, 60], [20, 10, 80]])
def test_a_box_that_cannot_be_one_is_an_unparsable_answer(tmp_path: Path, box: list[int]) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE["bytes"])
    source = jsonl(tmp_path / "rows.jsonl", {"image": "a.png", "problem": "left man", "solution": box})
    (error,) = read("refcoco", source, thousandths())
    assert isinstance(error, LabelError) and "rows.jsonl:row 1" in str(error)


@pytest.mark.parametrize("box", [[0.156, 0.208, 0.469, 0.833], [0, 0, 1, 1]])
@pytest.mark.parametrize("words", [{"text": "x"}, {"answer": ["x"]}])  # as corners, as width and height
def test_a_box_between_0_and_1_is_flagged(tmp_path: Path, box: list[float], words: dict) -> None:
    (tmp_path / "a.png").write_bytes(png(640, 480))
    source = jsonl(tmp_path / "rows.jsonl", {"image": "a.png", "bbox": box} | words)
    (error,) = read("refcoco", source, thousandths())
    assert isinstance(error, LabelError) and "--boxes unit" in str(error)


def test_the_units_of_a_sources_boxes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(640, 480))
    bare = {"image": "a.png", "text": "x"}
    # 0.25 x 640 = 160, 0.5 x 480 = 240: thousandths are 250, 500, whatever the image's sides.
    for boxes, box in (("unit", [0.25, 0.5, 0.75, 1]), ("thousandths", [250, 500, 750, 1000])):
        (row,) = read("refcoco", jsonl(tmp_path / "a.jsonl", bare | {"bbox": box}), replace(HALVED, boxes=boxes))
        assert json.loads(row.label) == {"box": [80, 120, 240, 240], "frame": [320, 240]}


@pytest.mark.parametrize(
    ("orientation", "box"),
    [
        # A photo of 640 x 480 and the box 100, 100, 300, 400, turned by hand: x is mirrored to 640 - x, y to 480 - y.
        (1, [100, 100, 300, 400]),
        (2, [340, 100, 540, 400]),
        (3, [340, 80, 540, 380]),
        (4, [100, 80, 300, 380]),
        (5, [100, 100, 400, 300]),
        (6, [80, 100, 380, 300]),
        (7, [80, 340, 380, 540]),
        (8, [100, 340, 400, 540]),
    ],
)
def test_a_box_of_a_stored_photo_is_turned_with_it(tmp_path: Path, orientation: int, box: list[int]) -> None:
    photo, exif = Image.new("RGB", (640, 480)), Image.Exif()
    photo.paste("white", (100, 100, 300, 400))
    exif[ExifTags.Base.Orientation] = orientation
    photo.save(tmp_path / "a.png", exif=exif)
    assert decode_image(str(tmp_path / "a.png")).getbbox() == tuple(box), "the white part is where the box is"
    upright = Frame(lambda image: image.size, "")
    record = {"image": "a.png", "text": "x"}
    (row,) = read("refcoco", jsonl(tmp_path / "a.jsonl", record | {"bbox": [100, 100, 300, 400]}), upright)
    assert json.loads(row.label)["box"] == box
    frame = replace(upright, box_frame="upright")
    (row,) = read("refcoco", jsonl(tmp_path / "b.jsonl", record | {"bbox": box}), frame)
    assert json.loads(row.label)["box"] == box
    if orientation == 6:
        (row,) = read("refcoco", tmp_path / "a.jsonl", thousandths())
        assert json.loads(row.label)["box"] == [166.7, 156.2, 791.7, 468.8]


def test_unknown_columns_and_bad_images_are_errors_of_their_row(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE["bytes"])
    good = {"image": "a.png", "problem": "left man", "solution": [20, 10, 80, 60]}
    wordless = [good | {"problem": " "}, {"image_path": "a.png", "captions": [], "bbox": [20, 10, 80, 60]}]
    source = jsonl(tmp_path / "rows.jsonl", {"image": "a.png"}, good | {"image": "absent.png"}, good, *wordless)
    unknown, absent, row, *nameless = read("refcoco", source, thousandths())
    assert ["no words for what the box holds" in str(error) for error in nameless] == [True, True]
    assert "row 1" in str(unknown) and "found the columns ['image']" in str(unknown)
    assert "row 2" in str(absent) and "does not exist" in str(absent)
    assert "left man" in row.prompt


def test_pixels_are_those_of_the_resized_image() -> None:
    from transformers import Qwen2VLImageProcessor

    processor = SimpleNamespace(image_processor=Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112))
    # 200 x 100 = 20000 pixels, more than 12544: scaled by sqrt(12544 / 20000) = 0.792 to 158.4 x 79.2, and each side
    # down to a multiple of 28.
    assert pixels(processor).size(Image.new("RGB", (200, 100))) == (140, 56)
    # Other limits, as --data.max_pixels: 224 x 224 pixels leave 200 x 100 to the nearest multiples of 28.
    limits = {"min_pixels": 56 * 56, "max_pixels": 224 * 224}
    assert pixels(processor, limits).size(Image.new("RGB", (200, 100))) == (196, 112)


def test_pixels_need_a_processor_that_resizes_the_whole_image() -> None:
    image = Image.new("RGB", (200, 100))
    with pytest.raises(ValueError, match="--frame pixels needs --model"):
        pixels().size(image)
    tiles = SimpleNamespace(image_processor=lambda **_: {"pixel_values": torch.zeros(2, 3, 28, 28)})
    with pytest.raises(ValueError, match="use --frame thousandths"):
        pixels(tiles).size(image)

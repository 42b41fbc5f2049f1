from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import datasets
import pytest
from PIL import Image

from pepo_rlhf.data import Row, decode_image
from pepo_rlhf.tasks import find_task, read_problems, thousandths


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), value).save(buffer, "PNG")
    return buffer.getvalue()


def read(task: str, source: Path | None, split: str = "train", **few_shot) -> list:
    return list(read_problems(find_task(task), source and str(source), split, thousandths(), **few_shot))


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Six images a class, their labels classes as on the hub: numbers whose names stand in the schema."""
    names = ["pink primrose", "tiger lily", "colt's foot"]
    records = [{"image": {"bytes": png(n), "path": None}, "label": n % 3} for n in range(18)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_list(records, features=features).to_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet"
    )
    return tmp_path


def test_classes_are_named(flowers: Path) -> None:
    rows = read("flowers102", flowers)
    assert len(rows) == 18
    assert json.loads(rows[1].label) == {"names": ["tiger lily"]}
    assert rows[1].prompt == "Which species of flower is this? Answer with its name alone."


def test_saved_data_sets_name_their_classes_too(flowers: Path, tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_parquet(str(flowers / "data" / "train-00000-of-00001.parquet"), cache_dir=tmp_path)
    dataset.save_to_disk(tmp_path / "saved")
    assert json.loads(read("flowers102", tmp_path / "saved")[2].label) == {"names": ["colt's foot"]}


@pytest.mark.parametrize("shots", [1, 2, 4])
def test_few_shots_draw_as_many_of_each_class(flowers: Path, shots: int) -> None:
    rows = read("flowers102", flowers, shots=shots)
    assert set(Counter(row.label for row in rows).values()) == {shots}
    assert len({row.images for row in rows}) == 3 * shots
    assert rows == read("flowers102", flowers, shots=shots)
    assert rows != read("flowers102", flowers, shots=shots, seed=1)


def test_a_class_with_too_few_images_is_named(flowers: Path) -> None:
    problems = read("flowers102", flowers, shots=7)
    assert len(problems) == 3
    assert "tiger lily" in str(problems[2]) and "6 rows, fewer than 7 shots" in str(problems[2])


def test_aircraft_go_by_their_variant_with_or_without_manufacturer(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "family": datasets.ClassLabel(names=["A320", "Boeing 737"]),
            "manufacturer": datasets.ClassLabel(names=["Airbus", "Boeing"]),
            "variant": datasets.ClassLabel(names=["737-700", "A321"]),
        }
    )
    record = {"image": {"bytes": png(0), "path": None}, "family": 1, "manufacturer": 1, "variant": 0}
    datasets.Dataset.from_list([record], features=features).to_parquet(tmp_path / "test.parquet")
    (row,) = read("fgvc_aircraft", tmp_path, "test")
    assert json.loads(row.label) == {"names": ["737-700", "Boeing 737-700"]}


def test_a_folder_of_names_will_do_and_numbers_will_not(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    source = tmp_path / "rows.jsonl"
    records = [{"image": "a.png", "label": "oak"}, {"image": "a.png", "label": 3}, {"image": "a.png", "label": "?"}]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    row, number, nameless = read("flowers102", source)
    assert json.loads(row.label) == {"names": ["oak"]}
    assert "no class name" in str(number) and "row 2" in str(number)
    assert "has no letter or digit" in str(nameless)


def test_digits_are_real_images_of_both_splits() -> None:
    pytest.importorskip("sklearn")
    train, test = read("digits", None), read("digits", None, "test")
    assert (len(train), len(test)) == (1437, 360)  # of 1797, every fifth is held out, the first one included
    assert {row.images for row in train}.isdisjoint(row.images for row in test)
    few = read("digits", None, shots=4)
    assert len(few) == 40 and all(isinstance(row, Row) for row in few)
    image = decode_image(few[0].images[0])
    assert image.size == (112, 112)
    assert image.getpixel((0, 0)) == (255, 255, 255), "ink on white"


def test_a_task_without_a_home_asks_for_a_source() -> None:
    with pytest.raises(ValueError, match="counting has no data set of its own; name a file"):
        read("counting", None)

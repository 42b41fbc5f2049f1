"""`datasets.load_dataset`, as it loads from the hub, on folders with the hub's layout: shards and a card."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image

from pepo_rlhf.tasks import find_task, read_problems, thousandths

CARD = """---
configs:
- config_name: testmini
  data_files:
  - split: testmini
    path: testmini.parquet
- config_name: testmini_text_only
  data_files:
  - split: testmini_text_only
    path: other.parquet
---
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that hub ids lead to; nothing else of the loading is changed."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, *rest, **split: load(str(tmp_path / name), *rest, **split)
    )
    return tmp_path


def picture() -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), "white").save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def read(task: str, split: str) -> list:
    return list(read_problems(find_task(task), None, split, thousandths()))


def test_a_configuration_is_chosen_and_images_stay_encoded(hub: Path) -> None:
    folder = hub / "AI4Math" / "MathVerse"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    record = {"question": "Find x.", "image": picture(), "answer": "14", "question_type": "free-form"}
    datasets.Dataset.from_list([record]).cast_column("image", datasets.Image()).to_parquet(folder / "testmini.parquet")
    datasets.Dataset.from_list([{"question": "other"}]).to_parquet(folder / "other.parquet")
    (row,) = read("mathverse", "testmini")
    assert (row.prompt, row.label, row.images) == ("Find x.", "14", (picture()["bytes"],))
    assert row.source == "AI4Math/MathVerse[testmini]:row 1"


def test_splits_and_boxes(hub: Path) -> None:
    folder = hub / "lmms-lab" / "RefCOCO" / "data"
    folder.mkdir(parents=True)
    for split, words in (("val", ["a", "b"]), ("testA", ["c"])):
        record = {"image": picture(), "answer": words, "bbox": [20.0, 10.0, 60.0, 50.0]}
        dataset = datasets.Dataset.from_list([record]).cast_column("image", datasets.Image())
        dataset.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    assert len(read("refcoco", "val")) == 2
    (row,) = read("refcoco", "testA")
    assert json.loads(row.label)["box"] == [100, 100, 400, 600]


def test_classes_have_their_names_and_a_split_may_be_a_data_set_of_its_own(hub: Path) -> None:
    folder = hub / "Multimodal-Fatima" / "OxfordFlowers_test" / "data"
    folder.mkdir(parents=True)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["rose", "lily"])})
    dataset = datasets.Dataset.from_list([{"image": picture(), "label": 1}], features=features)
    dataset.to_parquet(folder / "test-00000-of-00001.parquet")
    (row,) = read("flowers102", "test")
    assert json.loads(row.label) == {"names": ["lily"]}


def test_what_cannot_be_loaded_is_one_error(hub: Path) -> None:
    with pytest.raises(ValueError, match="lscpku/LogicVista: neither a path on disk nor a data set to load"):
        read("logicvista", "test")
    (hub / "HuggingFaceM4" / "FGVC-Aircraft").mkdir(parents=True)
    (hub / "HuggingFaceM4" / "FGVC-Aircraft" / "FGVC-Aircraft.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match="HuggingFaceM4/FGVC-Aircraft: neither a path on disk"):
        read("fgvc_aircraft", "test")

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pepo_rlhf.config import Config
from pepo_rlhf.metrics.token_records import SCHEMA, SIGNAL_COLUMNS, read_steps, store_image, weight_settings, write_step

SCORES = ("log_prob", *SIGNAL_COLUMNS.values(), "weight", "advantage_before", "advantage")


def make_row(step=1, sample=0, rollout_log_prob=None):
    scores = {name: np.arange(3, dtype=np.float32) / 3 for name in SCORES}
    return {
        "step": step,
        "group": "0",
        "sample": sample,
        "task": "geometry",
        "prompt": "Find x.",
        "label": "13",
        "response": "It is 13",
        "images": [],
        "token_ids": np.array([5, 6, 7]),
        "token_texts": ["It", " is", " 13"],
        **scores,
        "rollout_log_prob": rollout_log_prob,
        "reward": 1.5,
        "reward_parts": {"format": 1.0, "accuracy": 0.5},
        "truncated": False,
        "has_image": False,
        "progress": 0.25,
    }


def png(color, size=(4, 4)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def test_rows_come_back_as_they_were_written_with_no_bit_of_the_scores_lost(tmp_path):
    settings = {"method": "pepo", "alpha": 0.05}
    write_step(tmp_path, 12, [make_row(12), make_row(12, 1, np.full(3, -0.5))], settings, batch_size=8)
    (records,) = read_steps(tmp_path)
    assert (records.step, records.settings, records.batch_size) == (12, settings, 8)
    assert records.table.schema.equals(SCHEMA)
    first, second = records.table.to_pylist()
    assert np.array_equal(np.array(first["weight"], np.float32), np.arange(3, dtype=np.float32) / 3)
    assert first["token_texts"] == ["It", " is", " 13"]
    assert dict(first["reward_parts"]) == {"format": 1.0, "accuracy": 0.5}
    assert first["rollout_log_prob"] is None and second["rollout_log_prob"] == [-0.5] * 3


def test_steps_come_in_order_and_a_step_replaces_itself(tmp_path):
    for step in (10, 1, 10):
        write_step(tmp_path, step, [make_row(step)], {}, batch_size=1)
    assert [records.step for records in read_steps(tmp_path)] == [1, 10]
    assert {path.name for path in (tmp_path / "tokens").iterdir()} == {"step_000001.parquet", "step_000010.parquet"}


def test_a_row_that_does_not_fit_the_schema_leaves_no_file(tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        write_step(tmp_path, 1, [make_row() | {"reward": "high"}], {}, batch_size=1)
    with pytest.raises(ValueError, match="--logger.tokens_every"):
        next(read_steps(tmp_path))


def test_records_of_version_1_are_read_in_the_form_of_today(tmp_path):
    path = write_step(tmp_path, 1, [make_row()], {}, batch_size=1)
    table = pq.read_table(path).drop_columns(["image_dependence", "image_sensitivity"])
    flat = {"method": "pepo", "alpha": 0.05, "temperature": 1.8, "schedule": "linear", "top_fraction": 0.2}
    metadata = {"schema_version": "1", "settings": json.dumps(flat), "batch_size": "1"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    (records,) = read_steps(tmp_path)
    assert records.table["image_dependence"].null_count == records.table["image_sensitivity"].null_count == 1
    settings = {"alpha": 0.05, "temperature": 1.8, "top_fraction": 0.2}
    assert records.settings == {"method": "pepo", "schedule": "linear", "settings": settings}
    assert records.table["similarity"].to_pylist()[0] == pytest.approx([0, 1 / 3, 2 / 3])


def test_a_signal_that_no_weighting_needs_is_null(tmp_path):
    write_step(tmp_path, 1, [make_row() | {"similarity": None}], {}, batch_size=1)
    (records,) = read_steps(tmp_path)
    assert records.table["similarity"].null_count == 1


def test_settings_are_those_of_the_weighting_with_its_defaults():
    config = Config()
    config.pepo.settings = {"temperature": 1.8, "top_fraction": 0.3}
    settings = weight_settings(config)
    assert settings["method"] == "pepo" and settings["num_samples"] == config.rollout.n_samples_per_prompt
    assert settings["settings"] == {"temperature": 1.8, "alpha": 0.05}, "top_fraction is none of pepo's"


@pytest.mark.parametrize("metadata", [None, {"schema_version": "4"}])
def test_another_version_is_named(tmp_path, metadata):
    path = write_step(tmp_path, 1, [make_row()], {}, batch_size=1)
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match="step_000001.parquet has version (None|4) .* reads 1 to 3: "):
        next(read_steps(tmp_path))


def test_an_image_is_kept_once_whether_it_comes_as_a_path_or_as_bytes(tmp_path):
    data = png("red")
    (tmp_path / "image.png").write_bytes(data)
    names = {store_image(tmp_path, image) for image in (data, str(tmp_path / "image.png"))}
    assert names == {f"{hashlib.sha256(data).hexdigest()[:16]}.png"}
    assert [path.name for path in (tmp_path / "tokens" / "images").iterdir()] == list(names)
    with Image.open(tmp_path / "tokens" / "images" / names.pop()) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (4, 4), (255, 0, 0))


def test_images_of_one_name_and_different_content_are_two(tmp_path):
    path = tmp_path / "image.png"
    names = []
    for color in ("red", "blue"):
        path.write_bytes(png(color))
        names.append(store_image(tmp_path, str(path)))
    assert len(set(names)) == len(list((tmp_path / "tokens" / "images").iterdir())) == 2

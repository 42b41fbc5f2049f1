from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from pepo_rlhf.data import load_rows
from pepo_rlhf.data.sources import is_hub_id, read_source

RECORD = {"image": "a.png", "problem": "<image>Find x.", "answer": "13"}


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def write_jsonl(file: Path, answer: str = "13") -> None:
    (file.parent / "a.png").write_bytes(png())
    file.write_text(json.dumps(RECORD | {"answer": answer}) + "\n")


def write_parquet(file: Path, *answers: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [[{"bytes": png(), "path": "images/0.png"}] for _ in answers]
    problems = ["<image>Find x."] * len(answers)
    parquet.write_table(pyarrow.table({"images": images, "problem": problems, "answer": list(answers)}), file)


def write_problem(folder: Path, answer: str) -> None:
    folder.mkdir(parents=True)
    (folder / "img_diagram.png").write_bytes(png())
    (folder / "data.json").write_text(json.dumps({"problem_text": "Find x.", "choices": ["13"], "answer": answer}))


def labels(source: Path, split: str = "train") -> list[str]:
    return [row.label for row in load_rows(str(source), split).rows]


def test_a_jsonl_file_counts_its_rows_by_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file)
    file.write_text(f"{file.read_text()}\n{file.read_text()}")
    assert [row.source for row in load_rows(str(file)).rows] == [f"{file}:row 1", f"{file}:row 3"]


def test_a_parquet_file_with_encoded_images(tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", *[str(number) for number in range(100)])
    rows = load_rows(str(tmp_path / "rows.parquet")).rows
    assert [row.label for row in rows] == [str(number) for number in range(100)]
    assert rows[99].source == f"{tmp_path / 'rows.parquet'}:row 100"
    assert rows[0].images == (png(),)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    line = (tmp_path / "rows.jsonl").read_bytes().strip()
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n" + line + b"\r\n")
    assert labels(tmp_path / "rows.jsonl") == ["13", "13"]


def test_every_encoding_of_a_parquet_column_reads_alike(tmp_path: Path) -> None:
    struct = pyarrow.struct({"bytes": pyarrow.large_binary(), "path": pyarrow.large_string()})
    table = pyarrow.table(
        {
            "images": pyarrow.array([[{"bytes": png(), "path": None}]], pyarrow.large_list(struct)),
            "image": pyarrow.nulls(1),
            "problem": pyarrow.array(["<image>Find x."], pyarrow.large_string()),
            "answer": pyarrow.array(["13"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "rows.parquet")
    (row,) = load_rows(str(tmp_path / "rows.parquet")).rows
    assert (row.prompt, row.images, row.label) == ("<image>Find x.", (png(),), "13")


def test_classes_are_named_and_a_hidden_one_is_a_row_that_is_skipped(tmp_path: Path) -> None:
    classes = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    metadata = json.dumps({"info": {"features": {"answer": classes, "dropped": classes}}})
    columns = {"images": [[]] * 4, "problem": ["x"] * 4, "answer": [0, -1, 1, None]}
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": metadata})
    parquet.write_table(table, tmp_path / "rows.parquet")
    loaded = load_rows(str(tmp_path / "rows.parquet"), on_bad_row="skip")
    assert [row.label for row in loaded.rows] == ["cat", "dog"]
    assert loaded.num_skipped == 2


def test_a_column_of_names_stays_under_metadata_that_call_it_classes(tmp_path: Path) -> None:
    metadata = json.dumps({"info": {"features": {"answer": {"_type": "ClassLabel", "names": ["cat"]}}}})
    table = pyarrow.table({"images": [[]], "problem": ["x"], "answer": ["dog"]})
    parquet.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "rows.parquet")
    assert labels(tmp_path / "rows.parquet") == ["dog"]


def test_a_value_that_cannot_be_read_is_a_row_that_is_skipped(tmp_path: Path) -> None:
    dates = pyarrow.array([2**60, 0], pyarrow.timestamp("us"))
    notes = pyarrow.array([b"a", b"\xff"]).cast(pyarrow.string(), safe=False)
    good = {"images": [[]] * 2, "problem": ["x"] * 2, "answer": ["1", "2"]}
    parquet.write_table(pyarrow.table(good | {"made": dates}), tmp_path / "dates.parquet")
    parquet.write_table(pyarrow.table(good | {"note": notes}), tmp_path / "notes.parquet")
    loaded = load_rows(f"{tmp_path}/dates.parquet,{tmp_path}/notes.parquet", on_bad_row="skip")
    assert [row.label for row in loaded.rows] == ["2", "1"]
    assert loaded.num_skipped == 2


def test_a_relative_source_gives_absolute_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    monkeypatch.chdir(tmp_path)
    (row,) = load_rows("rows.jsonl").rows
    assert row.images == (str(tmp_path / "a.png"),)
    assert row.datasource == f"{tmp_path.name}/rows"


def test_a_folder_with_problems_jsonl(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "problems.jsonl")
    assert labels(tmp_path) == ["13"]


def test_a_folder_with_a_jsonl_file_for_each_split(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", "1")
    write_jsonl(tmp_path / "val.jsonl", "2")
    assert (labels(tmp_path), labels(tmp_path, "val")) == (["1"], ["2"])


def test_a_folder_laid_out_like_the_hub(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", "2")
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", "1")
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", "3")
    assert (labels(tmp_path), labels(tmp_path, "test")) == (["1", "2"], ["3"])


def test_the_first_layout_of_a_folder_wins(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", "1")
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", "1")
    assert labels(tmp_path) == ["1"]


def test_a_folder_with_a_folder_of_shards_for_each_split(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train" / "0001.parquet", "2")
    write_parquet(tmp_path / "train" / "0000.parquet", "1")
    assert labels(tmp_path) == ["1", "2"]


def saved(answer: str) -> datasets.Dataset:
    features = datasets.Features(
        {"image": datasets.Image(), "problem": datasets.Value("string"), "answer": datasets.Value("string")}
    )
    record = {"image": {"bytes": png(), "path": None}, "problem": "<image>Find x.", "answer": answer}
    return datasets.Dataset.from_list([record], features=features)


def test_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    saved("1").save_to_disk(str(tmp_path / "geometry"))
    (row,) = load_rows(str(tmp_path / "geometry")).rows
    assert (row.label, row.images, row.datasource) == ("1", (png(),), "geometry")
    assert row.source == f"{tmp_path / 'geometry'}:row 1"


def test_a_folder_of_save_to_disk_with_splits(tmp_path: Path) -> None:
    datasets.DatasetDict(train=saved("1"), test=saved("2")).save_to_disk(str(tmp_path / "geometry"))
    (row,) = load_rows(str(tmp_path / "geometry"), "test").rows
    assert (row.label, row.datasource, row.source) == ("2", "geometry", f"{tmp_path / 'geometry'}[test]:row 1")
    with pytest.raises(ValueError, match="geometry: no split 'val'; choose one of train, test"):
        labels(tmp_path / "geometry", "val")


def test_a_damaged_folder_of_save_to_disk_is_named(tmp_path: Path) -> None:
    saved("1").save_to_disk(str(tmp_path / "geometry"))
    (tmp_path / "geometry" / "dataset_info.json").unlink()
    with pytest.raises(ValueError, match="geometry: not a readable data set of save_to_disk"):
        labels(tmp_path / "geometry")


def test_problem_folders_with_and_without_splits(tmp_path: Path) -> None:
    write_problem(tmp_path / "train" / "0", "A")
    write_problem(tmp_path / "train" / "1", "A")
    assert labels(tmp_path) == ["13", "13"]
    assert labels(tmp_path / "train") == ["13", "13"]
    (row, _) = load_rows(str(tmp_path)).rows
    assert row.prompt == "<image>\nFind x."


def test_a_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    record = {"images": [{"bytes": png(), "path": None}], "problem": "<image>Find x.", "answer": "13"}
    asked = []

    def load_dataset(name: str, subset: None, split: str) -> datasets.Dataset:
        asked.append((name, split))
        return datasets.Dataset.from_list([record, record], features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    rows = load_rows("hiyouga/geometry3k", "validation").rows
    assert asked == [("hiyouga/geometry3k", "validation")]
    assert [row.source for row in rows] == [f"hiyouga/geometry3k[validation]:row {number}" for number in (1, 2)]
    assert (rows[0].images, rows[0].datasource) == ((png(),), "hiyouga/geometry3k")


def test_what_the_hub_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, subset: None, split: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match="data/trian: neither a path on disk nor a data set .*: no network"):
        list(read_source("data/trian", "train"))


def test_a_folder_of_no_known_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no data of the split 'val'; looked for .*val.jsonl.*val/\*/data.json"):
        load_rows(str(tmp_path), "val")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    with pytest.raises(ValueError, match=r"rows.csv: not a data file; convert it to .jsonl or .json or .parquet"):
        load_rows(str(tmp_path / "rows.csv"))


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere.jsonl: no such file or folder"):
        load_rows("nowhere.jsonl")


@pytest.mark.parametrize("name", ["./nowhere", "../no/where", "/no/where", "here/run/model", "a//b", "-a/b", ""])
def test_a_path_that_is_not_there_is_not_asked_for_on_the_hub(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("here/data")
    (tmp_path / "here").mkdir()
    assert not is_hub_id("here/data") and not is_hub_id(name)


def test_a_file_that_could_be_meant_is_named(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match=f"no data of the split 'train'; .*; if you mean {tmp_path}/rows.jsonl, name"):
        load_rows(str(tmp_path))


@pytest.mark.parametrize(("line", "column"), [(b'{"a": 1,}', 9), (b'{"a":', 6), (b"{{", 2)])
def test_a_damaged_line_is_told_by_its_row_and_column(tmp_path: Path, line: bytes, column: int) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n" + line + b"\n")
    with pytest.raises(ValueError, match=rf"rows.jsonl:row 2: not valid JSON \([^:]*, column {column}\); one object"):
        load_rows(str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("line", [b'{"image": ', b"\xff\xfe\xfa", b"[1]", b"13", b"[" * 10**5])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    write_jsonl(tmp_path / "rows.jsonl")
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(line)
    with pytest.raises(ValueError, match="rows.jsonl:row 2: not (valid JSON|a JSON object).*one object a line"):
        load_rows(str(tmp_path / "rows.jsonl"))


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "rows.parquet", "13")
    data = (tmp_path / "rows.parquet").read_bytes()
    head, tail = data[: len(data) // 3], data[len(data) // 3 :]
    for damaged in (b"", b"PAR1", data[: len(data) // 2], b"\xff" * len(head) + tail):
        (tmp_path / "rows.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match="rows.parquet: not a readable parquet file"):
            load_rows(str(tmp_path / "rows.parquet"))


def test_a_folder_that_cannot_be_searched_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^/.*: cannot be read \(File name too long\); mend its name"):
        labels(tmp_path, "a" * 300)  # files may have names of 255

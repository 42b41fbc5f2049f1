from __future__ import annotations

import base64
import io
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pepo_rlhf.data.load import load_rows
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row

FOLDER = Path("/data")
USER = {"role": "user", "content": "<image>\nFind x."}
SYSTEM = {"role": "system", "content": "You are a geometer."}


def read(record: dict) -> Row:
    return row_from_record(record, FOLDER, "rows.jsonl:row 3", "geometry")


def test_the_authors_schema() -> None:
    assert read({"images": ["train/0/img_diagram.png"], "messages": [USER], "solution": "15"}) == Row(
        prompt="<image>\nFind x.",
        images=("/data/train/0/img_diagram.png",),
        label="15",
        source="rows.jsonl:row 3",
        datasource="geometry",
    )


def test_a_system_message_is_kept() -> None:
    row = read({"images": ["/a.png"], "messages": [SYSTEM, USER], "answer": "15"})
    assert (row.system, row.prompt) == ("You are a geometer.", "<image>\nFind x.")


def test_the_hub_schema() -> None:
    image = {"bytes": b"png", "path": "image.png"}
    row = read({"images": [image], "problem": "<image>Find x.", "answer": "15"})
    assert (row.prompt, row.images, row.label) == ("<image>Find x.", (b"png",), "15")


def test_the_plain_schema() -> None:
    row = read({"image": "images/a.png", "question": "Find x.", "answer": 15, "choices": ["14", "15"]})
    assert (row.prompt, row.images, row.label) == ("Find x.", ("/data/images/a.png",), "15")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("a.png", "/data/a.png"),
        ("/elsewhere/a.png", "/elsewhere/a.png"),
        ({"path": "a.png"}, "/data/a.png"),
        ({"path": "a.png", "bytes": None}, "/data/a.png"),
        ({"path": "a.png", "bytes": b"png"}, b"png"),
        ({"bytes": b"png"}, b"png"),
        ({"bytes": base64.b64encode(b"png").decode()}, b"png"),
        (b"png", b"png"),
        ("data:image/png;base64," + base64.b64encode(b"png").decode(), b"png"),
        ("https://example.org/a.png", "https://example.org/a.png"),
        ({"path": "HTTP://example.org/a.png", "bytes": None}, "HTTP://example.org/a.png"),
    ],
)
def test_every_way_to_give_an_image(image: object, expected: str | bytes) -> None:
    assert read({"images": [image], "problem": "Find x.", "answer": "15"}).images == (expected,)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"solution": "15"}, "15"),
        ({"answer": "15"}, "15"),
        ({"answer": "15", "solution": "As 3 x 5 is 15, ..."}, "15"),
        ({"answer": None, "solution": "15"}, "15"),
        ({"solution": "<think>3 x 5</think> <answer> 15 </answer>"}, "15"),
        ({"answer": 6.45}, "6.45"),
        ({"answer": 0}, "0"),
        ({"answer": Decimal("6.40")}, "6.40"),
        ({"answer": ["15"]}, "15"),
        ({"answer": float("nan")}, ""),
        ({}, ""),
    ],
)
def test_every_way_to_give_a_label(labels: dict, expected: str) -> None:
    assert read({"image": "a.png", "problem": "Find x."} | labels).label == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"images": ["a.png"], "text": "Find x."}, r"the schema is unknown; .* found the columns \['images', 'text'\]"),
        ({"messages": []}, "'messages' must be one user message"),
        ({"messages": [SYSTEM]}, "'messages' must be one user message"),
        ({"messages": [USER, {"role": "assistant", "content": "15"}]}, "'messages' must be one user message"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "content as one text"),
        ({"problem": "x", "image": 7}, "an image must be a path or bytes, not 7"),
        ({"problem": "x", "images": [None]}, "an image must be a path or bytes, not None"),
        ({"problem": "x", "images": ["a.png"], "image": "b.png"}, "both 'images' and 'image' name images; put all of"),
        ({"problem": "x", "images": "a.png", "image": ["a.png"]}, "both 'images' and 'image' name images"),
        ({"problem": "x", "image": {"bytes": "not base64!"}}, "must be base64"),
        ({"problem": "x", "image": "data:image/png;base64,!"}, "must be base64"),
        ({"problem": "x", "image": {"bytes": None, "path": None}}, "an image must be a path or bytes, not {'bytes'"),
        ({"problem": "x", "image": {"bytes": list(range(256)) * 999}}, "an image must be a path or bytes"),
        ({"problem": "x", "image": "a.png", "answer": ["15", "16"]}, "the label must be a text or a number"),
        ({"problem": "x", "image": "a.png", "answer": {"value": "15"}}, "the label must be a text or a number"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(record: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(record)
    assert str(caught.value).startswith("rows.jsonl:row 3: ")
    assert len(str(caught.value)) < 400


PICTURE = bytes(range(256))  # its base64 has + and /
TEXT = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    "image",
    [
        "data:image/png;base64, " + TEXT,
        "data:image/png;base64," + TEXT.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        {"bytes": "\n".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)) + "\n"},
        {"bytes": base64.urlsafe_b64encode(PICTURE).decode()},
        {"bytes": base64.urlsafe_b64encode(PICTURE).decode().rstrip("=")},
        {"bytes": "data:image/png;base64," + TEXT},
        {"bytes": ("data:image/png;base64," + TEXT).encode()},
        ("data:image/png;base64," + TEXT).encode(),
    ],
)
def test_base64_in_all_its_forms(image: object) -> None:
    assert read({"problem": "x", "image": image}).images == (PICTURE,)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "WEBP"])
def test_base64_without_a_prefix_is_told_from_a_path_by_its_beginning(name: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, name)
    text = base64.b64encode(file.getvalue()).decode()
    assert read({"problem": "x", "image": text + "\n"}).images == (file.getvalue(),)


@pytest.mark.parametrize(
    "record",
    [
        {"answer": "", "solution": "3"},
        {"answer": float("nan"), "solution": "3"},
        {"answer": [], "solution": "3"},
        {"answer": " ", "solution": "3"},
        {"solution": "3", "problem": "", "question": "x"},
        {"solution": "3", "problem": None, "question": "x"},
        {"solution": "3", "messages": [], "question": "x", "problem": ""},
        {"solution": "3", "image": "", "images": ["a.png"]},
        {"solution": "3", "image": "a.png", "images": float("nan")},
    ],
)
def test_the_first_filled_column_counts(record: dict) -> None:
    row = read({"problem": "x", "images": ["a.png"]} | record)
    assert (row.prompt, row.label, row.images) == ("x", "3", ("/data/a.png",))


def test_two_tagged_answers_are_no_label() -> None:
    with pytest.raises(ValueError, match="more than one <answer>"):
        read({"problem": "x", "images": [], "solution": "<answer>3</answer> or <answer>4</answer>"})


@pytest.mark.parametrize("images", [{"image": ""}, {"images": [""]}, {"images": [{"path": ""}]}])
def test_an_image_without_a_name_is_an_error(images: dict) -> None:
    with pytest.raises(ValueError, match=r"no image is named|must be a path or bytes, not"):
        read({"problem": "x"} | images)


def test_an_empty_column_of_images_gives_way_to_one_that_names_some() -> None:
    record = {"images": [], "image": "a.png", "problem": "Find x.", "answer": "15"}
    assert read(record).images == ("/data/a.png",)
    assert read(record | {"image": None}).images == ()


# --- whatever a file holds, there is a row or one ValueError that names it ---

TEXT = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["<image>", "<answer>", "</answer>", "data:,x", "http://"]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.binary(max_size=30) | TEXT,
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["role", "content", "path", "bytes"]), values, max_size=3)
        | st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": values})
    ),
    max_leaves=8,
)
COLUMNS = ("messages", "problem", "question", "images", "image", "answer", "solution")
RECORD = st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUE)) | st.dictionaries(TEXT, VALUE, max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(RECORD)
def test_any_record_is_a_row_or_an_error_that_names_it(record: dict) -> None:
    try:
        row = read(record)
    except ValueError as error:
        assert str(error).startswith("rows.jsonl:row 3: ")
        assert "\n" not in str(error)
    else:
        assert all(isinstance(text, str) for text in (row.prompt, row.label, row.system))
        assert all(isinstance(image, str | bytes) for image in row.images)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=60) | RECORD.map(lambda record: ascii(record).encode()), max_size=4))
def test_any_file_is_skipped_through_or_one_error(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.jsonl")
        file.write_bytes(b"\n".join(lines))
        with pytest.raises(ValueError, match="no rows in it|none of its .* rows can be trained on") as caught:
            load_rows(str(file), on_bad_row="skip")
        assert "\n" not in str(caught.value)

"""Every test process is prepared the way every process of a run is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import settings
from PIL import Image

from pepo_rlhf import compat

compat.install()
# The same examples in every run, so that a failure is anyone's to repeat; --hypothesis-profile=default draws new ones.
settings.load_profile("ci")

FAMILY = """
from pepo_rlhf.tasks import Task

from .adapter import make_rows
from .verifier import shape_reward

VERIFIERS = {"shape": shape_reward}
SHAPES = Task(name="shapes", make_rows=make_rows, verifiers=("shape", "accuracy"), display_metric="accuracy")
"""
ADAPTER = """
import json

from pepo_rlhf.data.records import row_from_record


def make_rows(record, frame):
    columns = {"problem": "Which shape?", "images": [record.fields["picture"]], "answer": ""}
    columns["answer"] = json.dumps({"shape": record.fields["form"]})
    return [row_from_record(columns, record.folder, record.source, record.datasource)]
"""
VERIFIER = """
import json


def shape_reward(response, label):
    return float(json.loads(label)["shape"] in response)
"""


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Folder of a task outside the package; beside it shapes.jsonl, one record in columns of its own."""
    folder = tmp_path / "my tasks" / "shapes.v1"
    folder.mkdir(parents=True)
    for name, code in (("__init__", FAMILY), ("adapter", ADAPTER), ("verifier", VERIFIER)):
        (folder / f"{name}.py").write_text(code)
    Image.new("RGB", (56, 56), "white").save(tmp_path / "circle.png")
    (tmp_path / "shapes.jsonl").write_text(json.dumps({"picture": "circle.png", "form": "circle"}) + "\n")
    return folder

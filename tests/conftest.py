"""Every test process is prepared the way every process of a run is."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
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


@pytest.fixture
def no_process_left(monkeypatch):
    """Fails the test if a process that it has started outlives it, and ends it: it would slow the tests that follow.

    Known by a variable in their environment.
    """
    mark = uuid.uuid4().hex
    monkeypatch.setenv("PEPO_RLHF_TEST", mark)
    yield
    left = [process for process in psutil.process_iter() if is_marked(process, mark)]
    _, unfinished = psutil.wait_procs(left, timeout=20)
    alive = [process for process in unfinished if is_marked(process, mark)]  # some have ended, and are not waited for
    commands = [" ".join(process.cmdline()) for process in alive]
    for process in alive:
        with suppress(psutil.NoSuchProcess):  # the end of one ends others
            process.kill()
    assert not alive, commands


def is_marked(process, mark):
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("PEPO_RLHF_TEST") == mark
    except psutil.Error:  # it has ended, or is somebody else's
        return False

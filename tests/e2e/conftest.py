"""What the end-to-end tests share: a tiny model, a folder of problems, and a look at what a run left behind."""

import json
import random
import uuid
from contextlib import suppress

import psutil
import pytest
from PIL import Image, ImageDraw

from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny_qwen2_5_vl")


@pytest.fixture(scope="session")
def problems(tmp_path_factory):
    """Ten drawn problems in the layout of a Geometry3K folder, with images of different sizes."""
    folder = tmp_path_factory.mktemp("problems")
    (folder / "images").mkdir()
    draw_seed = random.Random(0)
    with (folder / "problems.jsonl").open("w") as file:
        for index in range(10):
            image = Image.new("RGBA", (draw_seed.randint(60, 300), draw_seed.randint(60, 200)), "white")
            ImageDraw.Draw(image).polygon([(5, 5), (50, 10), (20, 50)], outline="black")
            image.save(folder / "images" / f"{index}.png")
            problem = {"id": index, "image": f"images/{index}.png", "problem": "Find x.", "answer": str(index)}
            file.write(json.dumps(problem) + "\n")
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

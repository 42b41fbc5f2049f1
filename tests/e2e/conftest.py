"""What the end-to-end tests share: a tiny model, a folder of problems, and a look at what a run left behind."""

import json
import random

import psutil
import pytest
from PIL import Image, ImageDraw

from pepo_rlhf.sandbox.tiny_vlm import build_tiny_qwen2_5_vl

RUN_PROCESSES = ("pepo_rlhf.rewards", "ray::", "raylet", "gcs_server", "EngineCore", "VLLM::", "pepo_rlhf.train")


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


def run_processes() -> set[int]:
    """Ids of the processes on this machine that look like parts of a run."""
    found = set()
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or [])
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(name in command for name in RUN_PROCESSES):
            found.add(process.info["pid"])
    return found


@pytest.fixture
def no_process_left():
    """Fails the test if a process of a run outlives it. Runs of others on this machine are not counted."""
    before = run_processes()
    yield
    left = [psutil.Process(pid) for pid in run_processes() - before if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive, [" ".join(process.cmdline()) for process in alive]

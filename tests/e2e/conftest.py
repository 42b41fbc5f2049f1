"""What the end-to-end tests share: a tiny model and a folder of problems."""

import json
import random

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

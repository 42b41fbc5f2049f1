import base64
import io
import math
import random

import numpy as np
import pytest
from PIL import Image

from pepo_rlhf.report.tokens import data_uri, excerpts, percentiles, read_tokens


def test_a_run_without_records_has_empty_pages(tmp_path):
    pages = read_tokens(tmp_path)
    assert pages.groups == [] and pages.details == [] and pages.num_responses == 0


def test_groups_and_responses_as_recorded(tmp_path, record):
    record(
        tmp_path,
        {"tokens": [" b", "a"], "group": "b", "sample": 1, "reward": 2.0, "token_ids": [7, 3]},
        {"tokens": ["a"], "group": "a", "token_ids": [3], "entropy": [0.123456]},
        {"tokens": ["a"], "group": "b", "sample": 0, "reward": 0.0, "token_ids": [3], "truncated": True},
        batch_size=8,
    )
    pages = read_tokens(tmp_path)
    assert pages.batch_sizes == {1: 8}
    b, a = pages.groups
    assert b["responses"] == [
        {"text": "a", "reward": 0.0, "right": False, "length": 1},
        {"text": " ba", "reward": 2.0, "right": True, "length": 2},
    ]
    assert a["responses"] == [{"text": "a", "reward": 1.0, "right": True, "length": 1}]
    assert [[response["sample"] for response in detail] for detail in pages.details] == [[0, 1], [0]]
    assert pages.details[1][0]["entropy"] == [0.1235]
    assert pages.details[0][0]["truncated"] and pages.details[0][0]["rollout_log_prob"] is None
    texts = [[pages.vocabulary[place] for place in response["tokens"]] for response in pages.details[0]]
    assert texts == [[(3, "a")], [(7, " b"), (3, "a")]]
    assert pages.num_responses == 3


def test_scores_that_are_not_finite_become_null(tmp_path, record):
    record(tmp_path, {"tokens": ["a", "b"], "similarity": [math.nan, 0.5], "weight": [1.0, math.inf]})
    pages = read_tokens(tmp_path)
    assert pages.details[0][0]["similarity"] == [None, 0.5] and pages.details[0][0]["weight"] == [1.0, None]
    assert pages.ranges["similarity"] == (0.5, 0.5) and pages.groups[0]["weight_spread"] == 0.0


def test_weight_spread_of_a_group_by_hand(tmp_path, record):
    # 0.0, 0.1 ... 1.0: the 20th percentile is 0.2, the 80th 0.8
    record(tmp_path, {"tokens": ["a"] * 11, "weight": [place / 10 for place in range(11)]})
    assert read_tokens(tmp_path).groups[0]["weight_spread"] == 0.6


def test_no_finite_value_gives_a_range_of_zero():
    assert percentiles(np.array([np.nan]), (2, 98)) == (0.0, 0.0)


def test_excerpt_is_what_prompts_do_not_share():
    def chat(text):
        system = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        return f"{system}{text}\n\nUse tags.<|im_end|>\n<|im_start|>assistant\n"

    image = "<|vision_start|><|image_pad|><|vision_end|>"
    prompts = [chat(f"{image}How many?"), chat("Find x.\nThen y."), chat("How many?")]
    assert excerpts(prompts) == ["How many?", "Find x. Then y.", "How many?"]
    assert excerpts([chat("How many?")] * 2) == ["system Be brief. user How many? Use tags. assistant"] * 2
    assert excerpts([]) == []


def decoded(uri):
    kind, _, data = uri.partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def test_small_image_goes_in_as_it_is(tmp_path):
    Image.new("RGB", (112, 112), "red").save(tmp_path / "a.png")
    uri = data_uri(tmp_path / "a.png")
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(("size", "shown"), [((1024, 256), (512, 128)), ((300, 300), (300, 300))])
def test_large_image_is_downscaled_and_compressed(tmp_path, size, shown):
    noise = random.Random(0).randbytes(3 * size[0] * size[1])  # does not compress: the PNG is over the limit
    Image.frombytes("RGB", size, noise).save(tmp_path / "a.png")
    kind, image = decoded(data_uri(tmp_path / "a.png"))
    assert kind == "data:image/webp" and image.size == shown


def test_image_that_is_gone_is_none(tmp_path):
    assert data_uri(tmp_path / "a.png") is None


def test_an_image_of_several_prompts_is_embedded_once(tmp_path, record):
    record(tmp_path, *({"tokens": ["a"], "group": group, "images": ["x.png"]} for group in "ab"))
    pages = read_tokens(tmp_path)
    assert [group["images"] for group in pages.groups] == [[0], [0]] and pages.images == [None]

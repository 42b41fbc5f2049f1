"""What the engine asks vLLM for when it continues responses; the engine itself is started by the end-to-end tests."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch

from pepo_rlhf.evaluation.engine import Engine

IMAGE = 9


class Processor:
    image_token_id = IMAGE

    def __call__(self, text, add_special_tokens, return_tensors, images, **limits):
        assert (text, images, limits) == (["How many?"], ["picture"], {"max_pixels": 7})
        return {"input_ids": torch.tensor([[1, IMAGE, IMAGE, IMAGE, 2]]), "pixel_values": torch.zeros(1)}


class Llm:
    def generate(self, prompts, params, use_tqdm):
        self.asked = list(zip(prompts, params, strict=True))
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=(place, sample)) for sample in range(each.n)])
            for place, each in enumerate(params)
        ]


@pytest.fixture
def engine():
    made = object.__new__(Engine)
    made._settings = Namespace(max_new_tokens=5, max_len=64, temperature=0.7, top_p=0.9, top_k=3, seed=1)
    made._processor, made._pixels, made._llm = Processor(), {"max_pixels": 7}, Llm()
    return made


def test_prefixes_follow_the_prompt_and_share_the_length_of_a_response(engine):
    found = engine.continue_response("How many?", ["picture"], 0, [[], [4, 5]], 2)
    assert found == [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]
    (first, before), (second, after) = engine._llm.asked
    assert first["prompt_token_ids"] == [1, IMAGE, 2] and second["prompt_token_ids"] == [1, IMAGE, 2, 4, 5]
    assert first["multi_modal_data"] == {"image": ["picture"]}
    assert (before.max_tokens, after.max_tokens) == (5, 3)
    assert (before.n, before.temperature, before.top_p, before.top_k) == (2, 0.7, 0.9, 3)
    assert before.logit_bias == {IMAGE: -100.0} and before.seed != after.seed


def test_without_a_longest_response_the_prompt_leaves_the_room(engine):
    engine._settings.max_new_tokens = None
    engine.continue_response("How many?", ["picture"], 0, [[4]], 2)
    assert engine._llm.asked[0][1].max_tokens == 64 - 5 - 1, "with all tokens of the image"


def test_a_response_without_room_is_named(engine):
    with pytest.raises(ValueError, match="more than 5 tokens .* longest has 5: raise --rollout.max_new_tokens"):
        engine.continue_response("How many?", ["picture"], 0, [[1, 2, 3, 4, 5]], 2)

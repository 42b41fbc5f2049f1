"""Streaming against the `output_hidden_states=True` of every kind of model that is meant to work."""

import torch

from pepo_rlhf.core import VisualSimilarity, visual_similarity
from pepo_rlhf.workers.hidden_states import stream_hidden_states


def test_entries_are_those_of_output_hidden_states(case):
    model, inputs, _ = case
    streamed = []
    with torch.no_grad(), stream_hidden_states(model, streamed.append):
        model(**inputs)
    with torch.no_grad():
        expected = model(**inputs, output_hidden_states=True).hidden_states
    assert len(streamed) == len(expected) == model.config.get_text_config().num_hidden_layers + 1
    for a, b in zip(streamed, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_folded_similarity_equals_the_formula_over_all_states(case):
    model, inputs, mask = case
    similarity = VisualSimilarity(mask)
    with torch.no_grad(), stream_hidden_states(model, similarity.add):
        model(**inputs)
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    torch.testing.assert_close(similarity.result(), visual_similarity(states, mask))


def test_hooks_are_gone_afterwards(case):
    model, inputs, _ = case
    streamed = []
    with stream_hidden_states(model, streamed.append):
        pass
    model(**inputs)
    assert streamed == []

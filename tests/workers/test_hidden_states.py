"""Streaming against the `output_hidden_states=True` of every kind of model that is meant to work."""

import pytest
import torch

from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity, visual_similarity
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


@pytest.mark.parametrize(
    ("num_entries", "expected"), [(1, slice(0, 1)), (3, slice(0, 3)), (-1, slice(3, 4)), (-4, slice(0, 4))]
)
def test_the_first_or_the_last_entries_alone(case, num_entries, expected):
    model, inputs, _ = case
    streamed = []
    with torch.no_grad(), stream_hidden_states(model, streamed.append, num_entries):
        states = model(**inputs, output_hidden_states=True).hidden_states[expected]
    assert len(streamed) == len(states)
    for a, b in zip(streamed, states, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_more_entries_than_there_are_is_an_error(case):
    model, _, _ = case
    with (
        pytest.raises(ValueError, match="--pepo.num_layers 5: .* has 4 hidden states"),
        stream_hidden_states(model, print, 5),
    ):
        pass


def test_hooks_are_gone_afterwards(case):
    model, inputs, _ = case
    streamed = []
    with stream_hidden_states(model, streamed.append):
        pass
    model(**inputs)
    assert streamed == []

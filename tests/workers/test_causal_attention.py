"""Attention without a padding mask, against the same model with it."""

import pytest
import torch

from pepo_rlhf.workers.causal_attention import without_padding_mask

PADDED = 4  # of 12 positions, in the second row


@pytest.fixture
def padded(case):
    model, inputs, _ = case
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, -PADDED:] = 0
    return model, inputs | {"attention_mask": mask}


def masks_of_layers(model, inputs):
    """The logits, and the mask that the attention of the first layer was given."""
    seen = []
    attention = model.get_decoder().layers[0].self_attn
    hook = attention.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True
    )
    with torch.no_grad():
        logits = model(**inputs).logits
    hook.remove()
    return logits, seen[0]


def test_valid_positions_stay_as_they_are_and_attention_gets_no_mask(padded):
    model, inputs = padded
    expected, mask = masks_of_layers(model, inputs)
    with without_padding_mask(model):
        found, none = masks_of_layers(model, inputs)
    assert mask is not None and none is None
    valid = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[valid], expected[valid], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found[~valid], expected[~valid], atol=1e-3), "padding sees padding"
    assert masks_of_layers(model, inputs)[1] is not None, "only while the context lasts"


def test_other_attentions_keep_the_mask(padded):
    model, inputs = padded
    model.set_attn_implementation("eager")
    with without_padding_mask(model):
        assert masks_of_layers(model, inputs)[1] is not None

import torch

from pepo_rlhf.core.weighting import load_weighting


def test_it_is_the_mask_and_needs_no_signal():
    mask = torch.rand(3, 4) < 0.5
    assert torch.equal(load_weighting("uniform", {})({}, mask), mask.float())

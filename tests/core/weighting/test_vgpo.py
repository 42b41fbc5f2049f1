import torch

from pepo_rlhf.core.weighting import load_weighting


def test_vgpo_by_hand():
    # Between two invalid tokens, f = VS = (0, 1, 0.5, 0.25). Of the late two the upper one is lifted: at t = 2 of 0..3
    # by 0.3 * 2 / 3, to 0.6. w = 1 + s - 0.4625.
    similarity = torch.tensor([[9.0, 0.0, 1.0, 0.5, 0.25, 9.0]])
    mask = torch.tensor([[False, True, True, True, True, False]])
    weights = load_weighting("vgpo", {"alpha": 0.3, "top_fraction": 0.2})({"visual_similarity": similarity}, mask)
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.5375, 1.5375, 1.1375, 0.7875, 0.0]]))


def test_it_holds_from_the_first_step_on():
    assert not load_weighting("vgpo", {}).scheduled

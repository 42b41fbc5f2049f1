import torch

from pepo_rlhf.core.weighting import load_weighting


def test_it_keeps_the_top_fifth_of_the_batch():
    # Ten valid tokens, 0..9 in some order over two rows: the two largest stay, wherever they are.
    entropy = torch.tensor([[9.0, 1, 2, 3, 4, 99], [5, 6, 7, 8, 0, 99]])
    weights = load_weighting("high_entropy", {})({"entropy": entropy}, entropy < 99)
    assert weights.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]


def test_it_holds_from_the_first_step_on():
    assert not load_weighting("high_entropy", {}).scheduled

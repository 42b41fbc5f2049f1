import torch

from pepo_rlhf.core.weighting import load_weighting


def weigh(entropy, sensitivity, mask, **settings):
    signals = {"entropy": torch.tensor(entropy), "image_sensitivity": torch.tensor(sensitivity)}
    return load_weighting("tor", settings)(signals, torch.tensor(mask))


def test_tor_by_hand():
    # Of six tokens in two responses a third is undecided (0.9, 0.8: the quantile lies at position 3.33 of 0..5) and a
    # third perceives (7 and 5); the token of 0.8 and 7 is both, and counts as reasoning.
    entropy = [[0.1, 0.9, 0.2, 5.0], [0.3, 0.8, 0.0, 5.0]]
    sensitivity = [[5.0, 1.0, 0.5, 9.0], [2.0, 7.0, 3.0, 9.0]]
    mask = [[1, 1, 1, 0], [1, 1, 1, 0]]
    expected = [[0.5, 1, 0, 0], [0, 1, 0, 0]]
    assert weigh(entropy, sensitivity, mask, entropy_fraction=1 / 3, sensitivity_fraction=1 / 3).tolist() == expected


def test_fractions_and_weights_are_settings():
    row = [[1.0, 2.0, 3.0, 4.0, 5.0]]
    weights = weigh(
        row, [row[0][::-1]], [[1] * 5], entropy_fraction=0.2, sensitivity_fraction=0.4, reasoning_weight=2.0
    )
    assert weights.tolist() == [[0.5, 0.5, 0, 0, 2.0]]


def test_the_share_is_that_of_the_batch_and_not_of_each_response():
    even, none = [[1.0] * 4, [3.0] * 4], [[0.0] * 4] * 2
    weights = weigh(even, none, [[1] * 4] * 2, entropy_fraction=0.5, perception_weight=0.0)
    assert weights.tolist() == [[0] * 4, [1] * 4]

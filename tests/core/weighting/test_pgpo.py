import math

import torch

from pepo_rlhf.core.weighting import load_weighting


def weigh(dependence, mask, **settings):
    return load_weighting("pgpo", settings)({"image_dependence": torch.tensor(dependence)}, torch.tensor(mask))


def test_pgpo_by_hand():
    # log(1 + S) = 0, 0.2, 0.4, 0.7 and 1, which is I. o = 0, 0.5, 1, 1 + 2 * 0.3 / 0.6 = 2 and 3; their sum is 6.5.
    dependence = [[9.0, *(math.exp(x) - 1 for x in (0.0, 0.2, 0.4, 0.7, 1.0)), 9.0]]
    expected = torch.tensor([[0, 0, 0.5, 1, 2, 3, 0]]) * 5 / 6.5
    weights = weigh(dependence, [[0, 1, 1, 1, 1, 1, 0]])
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=1e-5)


def test_without_a_boost_tokens_above_the_threshold_are_equal():
    weights = weigh([[0.0, math.exp(0.5) - 1, math.e - 1]], [[1, 1, 1]], threshold=0.5, boost=0.0)
    torch.testing.assert_close(weights, torch.tensor([[0, 1.5, 1.5]]), atol=1e-5, rtol=1e-5)


def test_a_response_whose_tokens_depend_alike_is_weighed_evenly():
    assert weigh([[0.0, 0.0, 0.0], [0.2, 0.2, 0.0]], [[1, 1, 1], [1, 1, 0]]).tolist() == [[1, 1, 1], [1, 1, 0]]

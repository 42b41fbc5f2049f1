import torch

from pepo_rlhf.core.weighting import load_weighting


def weigh(dependence, mask, **settings):
    weighting = load_weighting("vppo", settings)
    return weighting({"image_dependence": torch.tensor(dependence)}, torch.tensor(mask))


def test_vppo_by_hand():
    # Of 5, 3 and 2 tokens 0.4 are kept, rounded up: 2, 2 and 1. Mean dependence 0.2, 0.6 and 0.4, so S' = 0, 1, 0.5
    # with a mean of 0.5: factors 0.9, 0.9 + 0.1 * 1 / 0.5 = 1.1 and 1.0.
    dependence = [[0.0, 0.5, 0.1, 0.3, 0.1, 9.0], [0.6, 0.2, 1.0, 9.0, 9.0, 9.0], [9.0, 0.7, 0.1, 9.0, 9.0, 9.0]]
    mask = [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0]]
    expected = [[0, 0.9, 0, 0.9, 0, 0], [1.1, 0, 1.1, 0, 0, 0], [0, 1.0, 0, 0, 0, 0]]
    torch.testing.assert_close(weigh(dependence, mask), torch.tensor(expected))


def test_the_mean_factor_is_one_whatever_the_least():
    # Means 1, 2 and 6: S' = 0, 0.2 and 1 with a mean of 0.4. With 0.5: 0.5, 0.75 and 1.75.
    weights = weigh([[1.0], [2.0], [6.0]], [[1], [1], [1]], min_scale=0.5)
    torch.testing.assert_close(weights, torch.tensor([[0.5], [0.75], [1.75]]))


def test_of_equal_tokens_the_first_are_kept_and_equal_responses_are_not_scaled():
    assert weigh([[0.3] * 5, [0.3] * 5], [[1] * 5] * 2).tolist() == [[1, 1, 0, 0, 0]] * 2


def test_a_response_without_tokens_is_left_out_of_the_range():
    weights = weigh([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]], [[0, 0], [1, 1], [1, 1]], top_fraction=1.0)
    torch.testing.assert_close(weights, torch.tensor([[0, 0], [0.9, 0.9], [1.1, 1.1]]))

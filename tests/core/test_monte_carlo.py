"""Monte-Carlo advantages against exact ones, on a model of three tokens whose distribution can be enumerated."""

import itertools
import math
import random

import pytest

from pepo_rlhf.core.monte_carlo import monte_carlo_advantages

END, LONGEST = 0, 4


def next_probabilities(prefix):
    """Of the tokens 0, 1 and 2; other ones for each prefix."""
    weights = [1 + random.Random(str((prefix, token))).random() * 3 for token in range(3)]
    return [weight / sum(weights) for weight in weights]


def is_whole(response):
    return len(response) == LONGEST or (response and response[-1] == END)


def reward_of(response):
    """A format that may break, and an answer: whether it ends, and the second token."""
    return (response[-1] == END) + 2.5 * (len(response) > 1 and response[1] == 2)


def rewards_of(responses):
    return [reward_of(response) for response in responses]


def continuations_of(prefix):
    """(probability, continuation) of all continuations of a prefix."""
    if is_whole(prefix):
        return [(1.0, [])]
    return [
        (own * probability, [token, *rest])
        for token, own in enumerate(next_probabilities(prefix))
        for probability, rest in continuations_of([*prefix, token])
    ]


def exact_value(prefix):
    return math.fsum(probability * reward_of(prefix + rest) for probability, rest in continuations_of(prefix))


def exact_advantage(response, position):
    return exact_value(response[: position + 1]) - exact_value(response[:position])


def sampler(seed):
    generator = random.Random(seed)

    def sample(prefixes, num):
        drawn = []
        for prefix in prefixes:
            probabilities, continuations = zip(*continuations_of(prefix), strict=True)
            drawn.append(generator.choices(continuations, probabilities, k=num))
        return drawn

    return sample


@pytest.mark.parametrize("response", [[1, 2, 1, 0], [2, 1, 2, 2], [1, 0], [0]])
def test_estimates_agree_with_exact_advantages_within_their_error(response):
    num, positions = 4000, range(len(response))
    found = monte_carlo_advantages(response, positions, num, sampler(seed=1), rewards_of)
    bound = 4 * 3.5 / 2 * math.sqrt(2 / num)  # four standard errors; rewards lie between 0 and 3.5
    for position, estimate in zip(positions, found, strict=True):
        exact = exact_advantage(response, position)
        assert estimate.advantage == pytest.approx(exact, abs=bound)
        assert estimate.square == pytest.approx(exact**2, abs=2 * abs(exact) * bound + bound**2)
    assert max(abs(exact_advantage([1, 2, 1, 0], position)) for position in range(4)) > 1, "there is something to find"


@pytest.mark.parametrize("position", [2, 3])
def test_estimates_are_unbiased_over_all_samples(position):
    """The expectation over every possible outcome of two continuations of each prefix is exact."""
    response = [1, 2, 1, 0]
    lengths = [length for length in (position, position + 1) if length < len(response)]
    pairs = [list(itertools.product(continuations_of(response[:length]), repeat=2)) for length in lengths]
    mean = mean_square = total = naive_square = 0.0
    for outcome in itertools.product(*pairs):
        probability = math.prod(own for pair in outcome for own, _ in pair)
        drawn = [[continuation for _, continuation in pair] for pair in outcome]
        (found,) = monte_carlo_advantages(response, [position], 2, lambda *_, drawn=drawn: drawn, rewards_of)
        total += probability
        mean += probability * found.advantage
        mean_square += probability * found.square
        naive_square += probability * found.advantage**2
    exact = exact_advantage(response, position)
    assert total == pytest.approx(1) and mean == pytest.approx(exact, abs=1e-12)
    assert mean_square == pytest.approx(exact**2, abs=1e-12)
    assert naive_square > exact**2 + 0.05, "the square of the estimate is too large"


def test_by_hand():
    """Of three tokens: V_1 = (1 + 0) / 2, V_2 = (1 + 1) / 2, and the response itself has reward 0."""

    def sample(prefixes, num):
        assert prefixes == [[7], [7, 8]] and num == 2
        return [[[8, 9], [5]], [[9], [6, 6]]]

    def reward(responses):
        assert responses == [[7, 8, 9], [7, 5], [7, 8, 9], [7, 8, 6, 6], [7, 8, 1]]
        return [1.0, 0.0, 1.0, 1.0, 0.0]

    second, third = monte_carlo_advantages([7, 8, 1], [1, 2], 2, sample, reward)
    assert second == (0.5, 0.5**2 - 0.5 / 2)  # the variance of 1 and 0 is 0.5
    assert third == (-1.0, 1.0)


def test_advantages_of_all_tokens_add_up_to_the_reward_less_the_first_value():
    response, drawn = [2, 1, 0], []

    def sample(prefixes, num):
        drawn.extend(sampler(seed=3)(prefixes, num))
        return drawn

    found = monte_carlo_advantages(response, range(3), 8, sample, rewards_of)
    first = sum(rewards_of(drawn[0])) / 8
    assert sum(estimate.advantage for estimate in found) == pytest.approx(reward_of(response) - first)


def test_continuations_without_a_reward_are_left_out():
    def found(*rewards):
        return monte_carlo_advantages([1], [0], 3, lambda *_: [[[1], [2], [3]]], lambda _: [*rewards, 1.0])[0]

    assert found(math.nan, 1.0, 0.0).advantage == 0.5
    assert math.isnan(found(math.nan, math.nan, 0.0).advantage)

import torch

from pepo_rlhf.core.signal import ResponseText, response_values
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.core.weighting.looking import digits


def weigh(states, mask):
    return load_weighting("looking", {})({"digits": torch.tensor(states)}, torch.tensor(mask)).tolist()


def test_the_weight_is_on_the_digits_and_its_mean_is_one():
    # Six tokens, two of them with digits: 6 / 2 each. Four tokens, one with a digit: 4 / 1.
    states = [[0.0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 1, 1]]
    mask = [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
    assert weigh(states, mask) == [[0, 3, 0, 0, 3, 0], [0, 0, 4, 0, 0, 0]]


def test_a_response_that_states_nothing_has_even_weights():
    assert weigh([[0.0, 0, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]]) == [[1, 1, 0], [0, 0, 0]]


def test_digits_of_the_generated_tasks():
    def states(*texts):
        return response_values({"digits": digits}, ResponseText(list(texts), "3", "How many?", "counting"))["digits"]

    counting = states("<think", ">blue", " squares", " ", "3", "</", "think", "><", "answer", ">", "3", "</")
    assert counting.nonzero().flatten().tolist() == [4, 10]
    assert states("[", "1", "2", ",", " 28", "", "]").nonzero().flatten().tolist() == [1, 2, 4]

import torch

from pepo_rlhf.core.masks import sequence_mask, vision_mask

IMAGE, VIDEO = 90, 91


def test_placeholders_of_the_prompt_and_none_of_the_response():
    # prompt 90 90 5, response 7 90: the placeholder that the policy wrote is no image.
    sequences = torch.tensor([[IMAGE, IMAGE, 5, 7, IMAGE]])
    action_mask = torch.tensor([[0, 0, 1, 1]])  # column j speaks of position j + 1
    assert vision_mask(sequences, action_mask, {IMAGE, VIDEO}).tolist() == [[True, True, False, False, False]]


def test_a_placeholder_right_before_the_response_counts():
    assert vision_mask(torch.tensor([[5, VIDEO, 7]]), torch.tensor([[0, 1]]), {IMAGE, VIDEO}).tolist() == [
        [False, True, False]
    ]


def test_rows_of_different_prompt_lengths_and_no_placeholder_ids():
    sequences = torch.tensor([[IMAGE, 1, IMAGE, 2], [1, IMAGE, IMAGE, 2]])
    action_mask = torch.tensor([[1, 1, 1], [0, 0, 1]])
    assert vision_mask(sequences, action_mask, {IMAGE}).tolist() == [
        [True, False, False, False],
        [False, True, True, False],
    ]
    assert not vision_mask(sequences, action_mask, set()).any()


def test_sequence_mask_is_every_token_but_the_first():
    attention_mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
    assert sequence_mask(attention_mask).tolist() == [[False, True, True, False], [False, False, True, True]]

from pepo_rlhf.controller.prompt_count import PromptCount

NONE = {"prompts_repeated": 0, "prompts_lost": 0}


def test_rows_trained_once_each_are_neither_repeated_nor_lost():
    count = PromptCount()
    assert count.add(0, [3, 1], num_dropped=0, num_drawn=2) == NONE
    assert count.add(0, [0, 2], num_dropped=0, num_drawn=4) == NONE


def test_what_filtering_drops_is_not_lost():
    count = PromptCount()
    assert count.add(0, [3, 1], num_dropped=3, num_drawn=5) == NONE
    assert count.add(0, [4, 2], num_dropped=1, num_drawn=8) == NONE


def test_a_row_trained_again_in_its_episode_is_told():
    count = PromptCount()
    count.add(0, [3, 1], num_dropped=0, num_drawn=2)
    assert count.add(0, [3, 2], num_dropped=0, num_drawn=4) == {"prompts_repeated": 1, "prompts_lost": 0}


def test_a_prompt_that_was_given_out_and_not_trained_is_told():
    assert PromptCount().add(0, [3, 1], num_dropped=1, num_drawn=5) == {"prompts_repeated": 0, "prompts_lost": 2}


def test_another_episode_begins_anew():
    count = PromptCount()
    count.add(0, [3, 1], num_dropped=2, num_drawn=5)
    assert count.add(1, [1, 3], num_dropped=0, num_drawn=2) == NONE


def test_a_count_goes_on_from_its_state():
    count = PromptCount()
    count.add(0, [3, 1], num_dropped=1, num_drawn=3)
    again = PromptCount(count.state)
    assert again.add(0, [3, 2], num_dropped=0, num_drawn=5) == {"prompts_repeated": 1, "prompts_lost": 0}
    assert again.add(0, [5], num_dropped=0, num_drawn=6) == {"prompts_repeated": 1, "prompts_lost": 0}

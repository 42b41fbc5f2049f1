"""The order of the prompts: a run that goes on from any position sees what it would have seen."""

import pytest
import torch
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import RandomSampler

from pepo_rlhf.config import Config
from pepo_rlhf.controller.prompts import Prompt, PromptSchedule, choose_prompts

BATCH_SIZE, NUM_ROWS, NUM_EPISODES = 2, 7, 3


def make(num_rows=NUM_ROWS, seed=42):
    config = Config()
    config.rollout.batch_size, config.train.num_episodes, config.train.seed = BATCH_SIZE, NUM_EPISODES, seed
    prompts = [Prompt(row, "data", f"problem {row}", str(row), ()) for row in range(num_rows)]
    return PromptSchedule(prompts, config)


def batches(schedule, position=0):
    """Rows of every batch from a position to the end of the run."""
    drawn = []
    while position < schedule.num_total:
        episode = position // schedule.num_per_episode
        drawn.append([prompt.row for prompt in schedule.draw(position, BATCH_SIZE, episode)])
        position += BATCH_SIZE
    return drawn


def test_a_run_resumed_after_any_batch_of_any_episode_draws_what_it_would_have_drawn():
    whole = batches(make())
    assert len(whole) == 9, "7 rows make 3 batches of 2 an episode"
    for num_done in range(len(whole)):
        assert batches(make(), num_done * BATCH_SIZE) == whole[num_done:]


def test_an_episode_holds_no_prompt_twice_and_differs_from_the_next():
    whole = batches(make())
    for episode in (whole[:3], whole[3:6], whole[6:]):
        rows = [row for batch in episode for row in batch]
        assert len(set(rows)) == len(rows) == 6
    assert whole[:3] != whole[3:6]


def test_the_order_is_that_of_versions_that_drew_from_a_data_loader():
    """Their checkpoints, and the figures in the documentation, go on to mean the same."""
    generator = torch.Generator().manual_seed(42)
    loader = StatefulDataLoader(
        range(NUM_ROWS), batch_size=1, sampler=RandomSampler(range(NUM_ROWS), num_samples=6, generator=generator)
    )
    drawn = [int(row) for _ in range(NUM_EPISODES) for row in loader]
    assert [row for batch in batches(make()) for row in batch] == drawn


def test_a_draw_ends_with_its_episode():
    schedule = make()
    assert len(schedule.draw(4, 5, episode=0)) == 2
    assert schedule.draw(6, 2, episode=0) == []


def test_refills_go_through_all_prompts_again_and_again_in_other_orders():
    schedule = make()
    drawn = [prompt.row for prompt in schedule.draw_refill(0, 2 * NUM_ROWS)]
    first, second = drawn[:NUM_ROWS], drawn[NUM_ROWS:]
    assert sorted(first) == sorted(second) == list(range(NUM_ROWS)) and first != second
    assert first != [prompt.row for prompt in schedule.draw(0, NUM_ROWS, 0)]
    assert [prompt.row for prompt in make().draw_refill(5, 6)] == drawn[5:11], "a resumed run goes on"
    assert first != [prompt.row for prompt in make(seed=43).draw_refill(0, NUM_ROWS)]


def test_a_position_in_other_rows_is_refused():
    make().require_identity(make().identity)
    with pytest.raises(ValueError, match="its 8 rows are not the 7 rows of the run that wrote the checkpoint"):
        make(8).require_identity(make().identity)


def test_fewer_rows_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="fewer than one batch"):
        make(1)


def test_the_vision_check_asks_prompts_with_images_of_their_own():
    images = [(), ("a",), ("a",), ("b",), ("c",), ("d",), ("e",)]
    prompts = [Prompt(row, "data", "", "", image) for row, image in enumerate(images)]
    assert [prompt.row for prompt in choose_prompts(prompts)] == [1, 3, 4, 5]

"""Where the data loader stands: a run that goes on from any position sees what it would have seen."""

import copy
from types import SimpleNamespace

import pytest
from openrlhf.utils.deepspeed import DeepspeedStrategy

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller import prompts
from pepo_rlhf.data import Row
from pepo_rlhf.data.load import LoadedRows

BATCH_SIZE, NUM_ROWS = 2, 7


def rows(num_rows=NUM_ROWS):
    return LoadedRows([Row(f"problem {i}", (), str(i), f"row {i}", "data") for i in range(num_rows)], 0)


def loader(monkeypatch, num_rows=NUM_ROWS):
    """The training loader, made as a run makes it, with a processor that knows no template."""
    monkeypatch.setattr(prompts, "load_run_rows", lambda *args: rows(num_rows))
    config = Config()
    config.rollout.batch_size = BATCH_SIZE
    args = to_arguments(config)
    processor = SimpleNamespace(
        tokenizer=None, apply_chat_template=lambda messages, **kwargs: str(messages), image_token_id=None
    )
    strategy = SimpleNamespace(args=args, seed=0)
    strategy.setup_dataloader = lambda *a, **k: DeepspeedStrategy.setup_dataloader(strategy, *a, **k)
    return prompts.prepare_datasets(strategy, processor)[0]


def batches(train_loader, first_episode, num_episodes, states=None):
    """Labels of every batch of upstream's loop, and the position after each."""
    drawn = []
    for episode in range(first_episode, num_episodes):
        iterator = iter(train_loader)
        while len(batch := [labels[0] for _, (_, _, labels, _, _) in zip(range(BATCH_SIZE), iterator, strict=False)]):
            drawn.append(batch)
            if states is not None:
                states.append((episode, copy.deepcopy(train_loader.state_dict())))
    return drawn


def test_a_run_resumed_after_any_batch_of_any_episode_draws_what_it_would_have_drawn(monkeypatch):
    states = []
    whole = batches(loader(monkeypatch), 0, 3, states)
    assert len(whole) == 9, "7 rows make 3 batches of 2 an episode"
    for num_done, (episode, state) in enumerate(states, start=1):
        resumed = loader(monkeypatch)
        resumed.load_state_dict(state)
        assert batches(resumed, episode, 3) == whole[num_done:]


def test_an_episode_holds_no_prompt_twice(monkeypatch):
    whole = batches(loader(monkeypatch), 0, 2)
    for episode in (whole[:3], whole[3:]):
        labels = [label for batch in episode for label in batch]
        assert len(set(labels)) == len(labels) == 6
    assert whole[:3] != whole[3:]


def test_a_position_in_other_rows_is_refused(monkeypatch):
    train_loader = loader(monkeypatch)
    next(iter(train_loader))
    other = loader(monkeypatch, NUM_ROWS + 1)
    other.load_state_dict(train_loader.state_dict())
    with pytest.raises(ValueError, match="its 8 rows are not the 7 rows of the run that wrote the checkpoint"):
        iter(other)

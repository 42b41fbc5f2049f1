"""What each update sees: every response once a pass, dealt evenly, less those without a gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.config import Config
from pepo_rlhf.controller.experience_maker import PepoExperienceMaker
from pepo_rlhf.controller.updates import deal, needs_update, plan_updates, update_metrics
from pepo_rlhf.workers.policy_trainer import Weighing

LENGTHS = [4, 2, 5, 1, 3, 3, 2, 6]


def config_of(ranks=1, batch_size=8, micro_batch_size=1, kl=0.0, **train):
    config = Config()
    config.pepo.method, config.algo.kl.init_coef = "uniform", kl
    config.rollout.n_samples_per_prompt, config.actor.num_gpus_per_node = 2, ranks
    config.train.batch_size, config.train.micro_batch_size = batch_size, micro_batch_size
    for name, value in train.items():
        setattr(config.train, name, value)
    return config


@pytest.fixture
def batch(scored_batch):
    """Four groups of two responses; the second and the third have equal rewards."""
    made = scored_batch([0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0], LENGTHS, num_samples=2)
    PepoExperienceMaker(config_of()).make(made, 0.0)
    made.reference_log_probs = torch.zeros_like(made.action_log_probs)
    return made


def lengths_of(updates):
    """Tokens of the responses in each micro-batch."""
    return [[part.rows.action_mask.sum(dim=-1).tolist() for part in update.micro_batches] for update in updates]


def updates_of(batch, config, step=1):
    """Of each rank."""
    return [plan.updates for plan in plan_updates(batch, config, step)]


def test_every_response_is_in_one_update_of_a_pass(batch):
    config = config_of(batch_size=4, kl=0.1, max_epochs=2)
    (updates,) = updates_of(batch, config)
    first, second = ([length for part in lengths_of(updates[i : i + 2]) for (length,) in part] for i in (0, 2))
    assert sorted(first) == sorted(second) == sorted(LENGTHS)
    assert first != second, "each pass draws its own updates"
    assert sum(update.num_tokens for update in updates[:2]) == sum(LENGTHS)
    assert [update.num_responses for update in updates] == [4] * 4


def test_a_step_draws_the_same_updates_again_and_another_step_others(batch):
    config = config_of(batch_size=4, kl=0.1)
    first, again, other = (lengths_of(updates_of(batch, config, step)[0]) for step in (1, 1, 2))
    assert first == again != other


def test_responses_whose_advantages_are_zero_are_left_out_and_still_counted(batch):
    (updates,) = updates_of(batch, config_of())
    assert lengths_of(updates) == [[[6], [4], [2], [2]]]  # of the first and the last group, longest first
    assert (updates[0].num_tokens, updates[0].num_responses) == (sum(LENGTHS), 8)


def test_a_masked_response_is_left_out_and_not_counted(batch):
    batch.loss_mask = batch.loss_mask.clone()
    batch.loss_mask[7] = 0
    (updates,) = updates_of(batch, config_of())
    assert lengths_of(updates) == [[[4], [2], [2]]]
    assert (updates[0].num_tokens, updates[0].num_responses) == (sum(LENGTHS) - 6, 7)


def test_ranks_get_as_many_responses_filled_up_with_the_shortest_of_the_others(batch):
    batch.unweighted_advantages[7] = 0.0
    of_ranks = updates_of(batch, config_of(ranks=2))
    assert [lengths_of(updates) for updates in of_ranks] == [[[[4], [2]]], [[[2], [1]]]]
    assert {(update.num_tokens, update.num_responses) for (update,) in of_ranks} == {(sum(LENGTHS), 8)}


def test_an_update_without_any_gradient_keeps_a_response_a_rank(batch):
    batch.unweighted_advantages = torch.zeros_like(batch.advantages)
    of_ranks = updates_of(batch, config_of(ranks=2))
    assert [lengths_of(updates) for updates in of_ranks] == [[[[1]]], [[[2]]]]


@pytest.mark.parametrize("loss", ["kl", "entropy", "auxiliary", "not asked for"])
def test_nothing_is_left_out_where_there_is_another_loss(batch, loss):
    config = config_of(kl=0.1 if loss == "kl" else 0.0, skip_zero_advantages=loss != "not asked for")
    config.actor.entropy_coef = 0.01 if loss == "entropy" else 0.0
    config.actor.aux_loss_coef = 0.01 if loss == "auxiliary" else 0.0
    assert needs_update(batch, config).all()


def test_a_kl_in_the_reward_leaves_out_what_it_makes_zero_only(batch):
    config = config_of(kl=0.1)
    config.algo.kl.use_loss = False
    assert needs_update(batch, config).tolist() == [True, True, False, False, False, False, True, True]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_single_pass_scores_what_it_leaves_out_and_says_which_rows_are_whose(batch, ranks):
    weighing = Weighing(("visual_similarity",), 0.5)
    plans = plan_updates(batch, config_of(ranks=ranks, micro_batch_size=2), 1, weighing)
    assert sorted(row for plan in plans for rows in plan.rows for row in rows) == list(range(8))
    for updates, rows in plans:
        parts = [*updates[0].micro_batches, *updates[0].left_out]
        assert [part.rows.action_mask.sum(dim=-1).tolist() for part in parts] == [
            [LENGTHS[row] for row in part] for part in rows
        ]
        assert all(part.action_log_probs is None for part in parts) and updates[0].weighing == weighing
    assert sum(len(part.loss_mask) for updates, _ in plans for part in updates[0].left_out) == 4


def test_rows_of_similar_length_share_a_micro_batch(batch):
    plans = plan_updates(batch, config_of(micro_batch_size=2, kl=0.1), step=1)
    assert lengths_of(plans[0].updates) == [[[6, 5], [4, 3], [3, 2], [2, 1]]]
    # Prompts have 3 tokens. Of 2 x (9 + 7 + 6 + 5) positions 1 of each pair but one is padding: 54 less 50 tokens.
    assert update_metrics(plans) == {"num_samples_updated": 8, "padding_fraction": pytest.approx(4 / 54)}


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=24),
    ranks=st.integers(1, 4),
    size=st.integers(1, 4),
    budget=st.none() | st.integers(50, 120),
)
def test_ranks_have_as_many_micro_batches_and_each_row_is_dealt_once(lengths, ranks, size, budget):
    lengths = sorted(lengths * ranks, reverse=True)
    config = config_of(ranks=ranks, micro_batch_size=size)
    if budget is not None:
        config.train.dynamic_batch_enable, config.train.max_tokens_per_gpu = True, budget
    dealt = deal(range(len(lengths)), lengths, config)
    assert len({len(hand) for hand in dealt}) == 1
    assert all(rows for hand in dealt for rows in hand)
    assert sorted(row for hand in dealt for rows in hand for row in rows) == list(range(len(lengths)))
    assert max(map(len, (rows for hand in dealt for rows in hand))) <= (size if budget is None else len(lengths))

"""From groups to a padded batch, to micro-batches, to those of an update: nothing is lost, moved or invented."""

import pytest
import torch

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch_metrics import response_metrics
from pepo_rlhf.controller.experience_maker import PepoExperienceMaker
from pepo_rlhf.controller.scoring import split_rows

LENGTHS = [4, 2, 5, 1]


@pytest.fixture
def batch(scored_batch):
    made = scored_batch([0.0, 1.0, 2.0, 1.0], LENGTHS, num_samples=2, truncated={2})
    config = Config()
    config.rollout.n_samples_per_prompt = 2
    PepoExperienceMaker(config).make(made, 0.5)
    return made


def test_rows_are_padded_on_the_right_to_the_longest(batch):
    assert batch.sequences.tolist() == [
        [1, 2, 3, 10, 11, 12, 13, 0],
        [1, 2, 3, 10, 11, 0, 0, 0],
        [1, 2, 3, 10, 11, 12, 13, 14],
        [1, 2, 3, 10, 0, 0, 0, 0],
    ]
    assert batch.attention_mask.sum(dim=-1).tolist() == [7, 5, 8, 4] == batch.total_lengths.tolist()
    # Column j describes position j + 1: three prompt tokens leave two columns before the response.
    assert batch.action_mask[1].tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert batch.response_lengths.tolist() == LENGTHS


def test_responses_keep_their_prompts_rewards_and_components(batch):
    assert [prompt.row for prompt in batch.prompts] == [0, 0, 1, 1]
    assert batch.rewards.dtype == torch.float64
    assert batch.components["accuracy"].tolist() == [0.0, 1.0, 2.0, 1.0]
    assert batch.truncated.tolist() == [False, False, True, False]


def test_a_micro_batch_leaves_out_what_is_padding_in_all_its_rows(batch):
    micro_batch = batch.micro_batch([3, 1])
    assert micro_batch.sequences.tolist() == [[1, 2, 3, 10, 0], [1, 2, 3, 10, 11]]
    assert micro_batch.action_mask.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1]]
    assert micro_batch.attention_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert micro_batch.image_tensors == ["reference"] * 2


@pytest.mark.parametrize("rows", [[0, 1], [3, 0], [2]])
def test_what_an_update_is_given_belongs_to_its_rows(batch, rows):
    batch.reference_log_probs = batch.action_log_probs - 1
    part = batch.update_batch(rows)
    assert torch.equal(part.rows.sequences, batch.micro_batch(rows).sequences)
    names = ("loss_mask", "advantages", "rollout_log_probs", "action_log_probs", "reference_log_probs")
    for i, row in enumerate(rows):
        for name in names:
            length = int(batch.total_lengths[row]) - 1
            assert torch.equal(getattr(part, name)[i, :length], getattr(batch, name)[row, :length]), name


def test_an_update_that_weighs_by_itself_is_given_the_advantages_of_responses(batch):
    part = batch.update_batch([1], is_weighed=False)
    assert part.action_log_probs is None
    assert torch.equal(part.advantages, batch.unweighted_advantages[[1], :4])


def test_micro_batches_are_of_equal_size_or_filled_by_tokens(batch):
    config = Config()
    config.rollout.micro_batch_size = 2
    assert split_rows(batch, config) == [[0, 1], [2, 3]]
    config.train.dynamic_batch_enable, config.train.max_tokens_per_gpu = True, 12
    splits = split_rows(batch, config)
    assert sorted(row for rows in splits for row in rows) == [0, 1, 2, 3]
    assert len(splits) == 2, "24 tokens, of which 12 fit"
    config.actor.num_gpus_per_node = 2
    assert len(split_rows(batch, config)) % 2 == 0


def test_response_metrics_by_hand(batch):
    metrics = response_metrics(batch, Config())
    assert metrics["reward"] == metrics["accuracy"] == metrics["score"] == 1.0
    assert metrics["reward_std"] == pytest.approx((2 / 3) ** 0.5)  # of 0, 1, 2, 1 around 1
    assert metrics["group_reward_std"] == pytest.approx(0.5**0.5)  # of 0, 1 and of 2, 1
    assert (metrics["response_length"], metrics["total_length"]) == (3.0, 6.0)
    assert (metrics["truncated"], metrics["reward_errors"], metrics["zero_std_groups"]) == (0.25, 0.0, 0.0)
    assert (metrics["num_samples"], metrics["overlong_filtered"]) == (4, 0)


def test_the_share_of_groups_without_spread_is_a_metric(scored_batch):
    config = Config()
    config.rollout.n_samples_per_prompt = 2
    batch = scored_batch([1.0, 1.0, 0.0, 1.0, 2.0, 2.0, 0.5, 0.5], [2] * 8, num_samples=2)
    PepoExperienceMaker(config).make(batch, 0.0)
    assert response_metrics(batch, config)["zero_std_groups"] == 0.75

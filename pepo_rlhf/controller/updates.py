"""Which responses each update of the policy sees, and how they are dealt over ranks and micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from openrlhf.utils.seqlen_balancing import get_minimum_num_micro_batch_size, get_seqlen_balanced_partitions

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.workers.policy_trainer import Update, Weighing


class Plan(NamedTuple):
    """The updates of one rank.

    Attributes:
        rows: of the batch, in each micro-batch of each update and behind them in those that it leaves out.
    """

    updates: list[Update]
    rows: list[list[int]]


def plan_updates(batch: Batch, config: Config, step: int, weighing: Weighing | None = None) -> list[Plan]:
    """Return the updates that a batch with advantages is trained on, for each rank.

    Responses without a gradient are left out, but for what fills up the ranks: each has as many responses as the
    others, and one at least, because the optimiser steps in any case.

    Args:
        step: number of the training step, from which the responses of an update are drawn.
        weighing: with --train.single_pass; the batch has advantages of responses only then.
    """
    lengths, has_gradient = batch.total_lengths.tolist(), needs_update(batch, config).tolist()
    with_loss, is_weighed = batch.loss_mask.sum(dim=-1), weighing is None
    plans = [Plan([], []) for _ in range(config.num_policy_ranks)]
    for rows in _rows_of_updates(len(batch), config, step):
        kept = sorted((row for row in rows if has_gradient[row]), key=lambda row: -lengths[row])
        spare = sorted((row for row in rows if not has_gradient[row]), key=lambda row: lengths[row])
        num_missing = -len(kept) % config.num_policy_ranks or (0 if kept else config.num_policy_ranks)
        in_update = deal(kept + spare[:num_missing], lengths, config)
        left_out = deal([] if is_weighed else spare[num_missing:][::-1], lengths, config)
        num_tokens, num_responses = int(with_loss[rows].sum()), int(with_loss[rows].count_nonzero())
        for plan, micro_batches, others in zip(plans, in_update, left_out, strict=True):
            parts = [batch.update_batch(part, is_weighed) for part in (*micro_batches, *others)]
            number = len(micro_batches)
            plan.updates.append(Update(parts[:number], num_tokens, num_responses, parts[number:], weighing))
            plan.rows.extend((*micro_batches, *others))
    return plans


def needs_update(batch: Batch, config: Config) -> torch.Tensor:
    """Return which responses may have a gradient, [B] bool.

    Where the policy's loss is all there is, a response whose advantages are exactly 0 has none.
    """
    has_other_loss = (
        (config.algo.kl.use_loss and config.algo.kl.init_coef > 0)
        or bool(config.actor.entropy_coef)
        or config.actor.aux_loss_coef > 0
    )
    if has_other_loss or not config.train.skip_zero_advantages:
        return torch.ones(len(batch), dtype=torch.bool)
    return (batch.unweighted_advantages * batch.loss_mask != 0).any(dim=-1)


def deal(rows: Sequence[int], lengths: Sequence[int], config: Config) -> list[list[list[int]]]:
    """Return the rows of each micro-batch of each rank: as many micro-batches on each, of rows of similar length.

    Args:
        rows: from the longest to the shortest, as many for each rank.
        lengths: tokens of every row, prompt included.
    """
    ranks = config.num_policy_ranks
    if not rows:
        return [[] for _ in range(ranks)]
    hands = [rows[rank::ranks] for rank in range(ranks)]
    if not config.train.dynamic_batch_enable:
        size = config.train.micro_batch_size
        return [[list(hand[start : start + size]) for start in range(0, len(hand), size)] for hand in hands]
    tokens = [[lengths[row] for row in hand] for hand in hands]
    number = max(get_minimum_num_micro_batch_size(hand, config.train.max_tokens_per_gpu, 1, 1) for hand in tokens)
    partitions = [get_seqlen_balanced_partitions(hand, number, False) for hand in tokens]
    return [[[hand[index] for index in part] for part in parts] for hand, parts in zip(hands, partitions, strict=True)]


def update_metrics(plans: Sequence[Plan]) -> dict[str, float]:
    """Return how many responses the updates see, counted anew in each, and the share of padding in them."""
    parts = [part for plan in plans for update in plan.updates for part in update.micro_batches]
    masks = [part.rows.attention_mask for part in parts]
    num_tokens, num_positions = (sum(int(mask.sum()) for mask in masks), sum(int(mask.numel()) for mask in masks))
    return {"num_samples_updated": sum(map(len, masks)), "padding_fraction": 1 - num_tokens / num_positions}


def _rows_of_updates(num_rows: int, config: Config, step: int) -> Iterator[list[int]]:
    """Yield the rows of each update, drawn anew for each pass over the batch."""
    generator = torch.Generator().manual_seed(config.train.seed + step)
    for _ in range(config.train.max_epochs):
        order, size = torch.randperm(num_rows, generator=generator).tolist(), config.train.batch_size
        yield from (order[start : start + size] for start in range(0, num_rows, size))

"""Forward passes of policy and reference over a batch, which add their scores to it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import ray
import torch
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.utils.seqlen_balancing import get_minimum_num_micro_batch_size, get_seqlen_balanced_partitions

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.workers.micro_batch import MicroBatch, PolicyScores


def split_rows(batch: Batch, config: Config) -> list[list[int]]:
    """Return the rows of each micro-batch of a forward pass, the same number of micro-batches for every rank.

    With --train.dynamic_batch_enable they are filled by tokens, and rows of similar total length come together.
    """
    if not config.train.dynamic_batch_enable:
        size = config.rollout.micro_batch_size
        return [list(range(start, start + size)) for start in range(0, len(batch), size)]
    lengths, ranks = batch.total_lengths.tolist(), config.num_policy_ranks
    budget = config.rollout.max_tokens_per_gpu or config.train.max_tokens_per_gpu
    num_needed = get_minimum_num_micro_batch_size(lengths, budget, 1, 1)
    num_micro_batches = max(num_needed // ranks * ranks, ranks)
    partitions: list[list[int]] = get_seqlen_balanced_partitions(lengths, num_micro_batches, False)
    return partitions


def add_scores(
    batch: Batch,
    splits: Sequence[list[int]],
    policy: RayActorGroup,
    reference: RayActorGroup | None,
    config: Config,
    signals: Sequence[str],
) -> None:
    """Add the scores of policy and reference to the batch. On GPUs of their own they work at the same time.

    With --train.single_pass those of the policy come from its update (`take_scores`).

    Args:
        reference: None where the policy without its adapters is the reference, or no KL is asked for.
        signals: names out of pepo_rlhf.core.signals that the policy computes; it returns the entropy in any case.
    """
    micro_batches = [batch.micro_batch(rows) for rows in splits]
    takes_turns = config.train.colocate_all or config.train.colocate_actor_ref
    asked = [tuple(signals)] * len(splits)
    pending = []
    if not config.train.single_pass:
        pending = _start(policy, takes_turns, "score", micro_batch=micro_batches, signals=asked)
    if config.has_reference:
        worker = policy if reference is None else reference
        pending_reference = _start(worker, takes_turns, "reference_log_probs", micro_batch=micro_batches)
        batch.reference_log_probs = _whole(batch, splits, _gather(pending_reference))
    if pending:
        take_scores(batch, splits, _gather(pending))


def take_scores(batch: Batch, splits: Sequence[Sequence[int]], scores: Sequence[PolicyScores]) -> None:
    """Put what the policy computed of each micro-batch into the batch."""
    log_probs, found = zip(*scores, strict=True)
    batch.action_log_probs = _whole(batch, splits, log_probs)
    batch.signals = {name: _whole(batch, splits, [part[name] for part in found]) for name in found[0]}


def probe_log_probs(policy: RayActorGroup, micro_batch: MicroBatch) -> torch.Tensor:
    """Return the policy's log-probs at temperature 1. Every rank computes them, as a partitioned model needs it."""
    log_probs: torch.Tensor = ray.get(policy.async_run_method("probe", micro_batch))[0]
    return log_probs


def _start(
    group: RayActorGroup, takes_turns: bool, method: str, **micro_batches: list[Any]
) -> list[ray.ObjectRef[Any]]:
    references: list[ray.ObjectRef[Any]] = group.async_run_method_batch(method, **micro_batches)
    if takes_turns:  # a model that shares its GPU gives memory back before the next one works
        ray.get(references)
        ray.get(group.async_run_method("empty_cache"))
    return references


def _gather(references: list[ray.ObjectRef[Any]]) -> list[Any]:
    """Return the results, one a micro-batch, of references with a rank's results each."""
    return list(itertools.chain.from_iterable(ray.get(references)))


def _whole(batch: Batch, splits: Sequence[Sequence[int]], parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return [B, S - 1] float32 of the micro-batches' tensors, 0 in padding."""
    result = torch.zeros(batch.action_mask.shape)
    for rows, part in zip(splits, parts, strict=True):
        result[rows, : part.shape[1]] = part
    return result

"""Optimiser steps without a single token to learn from are skipped and counted, never divided by."""

from __future__ import annotations

from collections.abc import Iterator

from openrlhf.utils.loss_utils import iter_grad_accum_global_norm


def trainable_windows(data_iter, strategy, accumulated_gradient: int, mask_fn) -> Iterator[tuple]:
    """Upstream's micro-batches with their loss normalisers, less the windows in which every response is masked.

    A window is one optimiser step's micro-batches. Its token count is summed over all ranks, so that all of them skip
    the same windows. `strategy.num_skipped_updates` counts them.
    """
    num_skipped_micro_batches = 0
    for item, info in iter_grad_accum_global_norm(data_iter, strategy, accumulated_gradient, mask_fn):
        if info["batch_num_tokens"] > 0:
            yield item, info
        else:
            num_skipped_micro_batches += 1
    strategy.num_skipped_updates += num_skipped_micro_batches // max(accumulated_gradient, 1)

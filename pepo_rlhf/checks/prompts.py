"""Check rows as the rollout workers will encode them: how long they are, and whether each image has its tokens."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from pepo_rlhf.checks.finding import Finding, error, ok
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.data import Row, decode_image
from pepo_rlhf.data.batches import prompts_per_episode
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import count_tokens

_SECONDS = 20.0  # large data sets are sampled for so long
_NUM_LONGEST = 32  # rows with the longest texts are always looked at
_NUM_NAMED = 5


class Length(NamedTuple):
    """Length of a prompt in tokens: in total, and those of its images."""

    row: Row
    total: int
    visual: int


def check_rows(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether every row can be read, how many steps they make, and whether ranks can work on them together."""
    loaded, config = inputs.training_rows, inputs.config
    num_prompts = prompts_per_episode(len(loaded.rows), config)
    skipped = f", {loaded.num_skipped} skipped" if loaded.num_skipped else ""
    yield ok(
        f"{len(loaded.rows)} rows{skipped}; an episode takes {num_prompts}, "
        f"{num_prompts // config.rollout.batch_size} steps of {config.rollout.batch_size} prompts"
    )
    if config.eval.dataset:
        yield ok(f"{len(inputs.evaluation_rows.rows)} rows to evaluate on")
    num_without_image = sum(not row.images for row in loaded.rows)
    if 0 < num_without_image < len(loaded.rows) and _ranks_share_the_encoder(config):
        yield error(
            f"{num_without_image} rows have no image: a rank with such rows alone leaves out the vision encoder, whose "
            "weights or gradients the others wait for: drop these rows, or set --actor.freeze_visual_encoder true and "
            "--ds.zero_stage 2"
        )


def _ranks_share_the_encoder(config: Any) -> bool:
    several = config.actor.num_nodes * config.actor.num_gpus_per_node > 1
    return several and (config.ds.zero_stage == 3 or not config.actor.freeze_visual_encoder)


def check_prompts(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether prompts and responses fit into the context, and whether an image is lost."""
    config = inputs.config
    rows = inputs.training_rows.rows + inputs.evaluation_rows.rows
    lengths = _measure(rows, inputs)
    response = config.rollout.max_new_tokens or 1
    too_long = [length for length in lengths if length.total + response > config.data.max_len]
    blind = [length for length in lengths if length.row.images and not length.visual]
    for length in too_long[:_NUM_NAMED]:
        yield error(
            f"{length.row.source}: a prompt of {length.total} tokens ({length.visual} visual) and a response of up to "
            f"{response} exceed --data.max_len {config.data.max_len}; raise it, lower --rollout.max_new_tokens or "
            "--data.max_pixels, or drop the row"
        )
    if len(too_long) > _NUM_NAMED:
        yield error(f"{len(too_long)} such prompts in all", "--data.max_len")
    if blind:
        yield error(
            f"{blind[0].row.source}: the chat template leaves no token for its image; {len(blind)} such prompts",
            "--actor.model_name_or_path",
        )
    longest, most_visual = max(lengths, key=lambda length: length.total), max(length.visual for length in lengths)
    yield ok(
        f"{len(lengths)} of {len(rows)} encoded: the longest has {longest.total} tokens ({longest.row.source}); "
        f"up to {most_visual} are visual, {config.data.max_len - longest.total} of --data.max_len are left"
    )


def _measure(rows: list[Row], inputs: Inputs) -> list[Length]:
    """Return the lengths of the rows with the longest texts, then of others in a fixed random order for _SECONDS.

    Images are decoded again here: the rows keep them encoded, since the pixels of a data set do not fit into memory.
    """
    limits = pixel_limits(inputs.processor, inputs.config.data.min_pixels, inputs.config.data.max_pixels)
    ordered = sorted(rows, key=lambda row: len(row.prompt), reverse=True)
    rest = ordered[_NUM_LONGEST:]
    random.Random(0).shuffle(rest)
    deadline = time.monotonic() + _SECONDS
    lengths: list[Length] = []
    for row in ordered[:_NUM_LONGEST] + rest:
        if len(lengths) >= _NUM_LONGEST and time.monotonic() > deadline:
            break
        lengths.append(_encode(row, inputs.processor, limits))
    return lengths


def _encode(row: Row, processor: Any, limits: dict[str, int]) -> Length:
    try:
        total, visual = count_tokens(processor, row, [decode_image(image) for image in row.images], limits)
    except (ValueError, IndexError, StopIteration) as problem:
        raise ValueError(f"{row.source}: the model's processor cannot encode it: {problem}") from problem
    return Length(row, total, visual)

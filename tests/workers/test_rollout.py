"""What the rollout worker checks by itself; sampling is tested end to end."""

import asyncio
from unittest.mock import AsyncMock

import pytest

from pepo_rlhf.workers.responses import require_same_prompt
from pepo_rlhf.workers.rollout import RolloutWorker


def test_equal_prompts_pass():
    require_same_prompt([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(
    ("engine_ids", "trainer_ids", "message"),
    [
        ([1, 2, 9], [1, 2, 3], "engine's prompt has 3 tokens and the trainer's 3, .* position 2 on"),
        ([1, 7, 7, 7, 2], [1, 7, 7, 2], "has 5 tokens and the trainer's 4, .* position 3 on"),
        ([1, 7], [1, 7, 7], "has 2 tokens and the trainer's 3, .* position 2 on"),
    ],
)
def test_other_tokens_are_located_and_the_message_says_where_to_look(engine_ids, trainer_ids, message):
    with pytest.raises(ValueError, match=f"{message}.*--data.min_pixels and --data.max_pixels"):
        require_same_prompt(engine_ids, trainer_ids)


def test_a_sync_after_which_old_values_stay_cached_is_an_error():
    worker = object.__new__(RolloutWorker)
    worker.llm = AsyncMock()
    worker.llm.reset_prefix_cache.return_value = False  # vLLM only warns
    with pytest.raises(RuntimeError, match="kept its prefix cache"):
        asyncio.run(worker.finish_weight_update(1))

"""Batches made by hand, as they are after the workers' forward passes."""

import pytest
import torch

from pepo_rlhf.checkpoints import folders
from pepo_rlhf.controller.batch import Draw, make_batch
from pepo_rlhf.controller.prompts import Prompt
from pepo_rlhf.workers.responses import Group, Response

PROMPT_TOKENS = [1, 2, 3]


def make_group(rewards, lengths, truncated, components, image="reference", version=0, error=None):
    """A group whose responses have given rewards, and tokens 10, 11, ..."""
    responses = [
        Response(
            token_ids=list(range(10, 10 + length)),
            log_probs=[-0.5] * length,
            truncated=cut,
            reward=reward,
            components=parts,
            grader_error=error,
            weights_version=version,
        )
        for reward, length, cut, parts in zip(rewards, lengths, truncated, components, strict=True)
    ]
    return Group(PROMPT_TOKENS, image, responses)


@pytest.fixture
def scored_batch():
    """A function that makes a batch of groups, with random scores; columns beyond a row's tokens hold 0."""

    def make(rewards, lengths, num_samples=4, with_image=lambda row: True, truncated=(), prompts=None, **draw):
        groups = []
        for start in range(0, len(rewards), num_samples):
            rows = range(start, start + num_samples)
            groups.append(
                make_group(
                    [rewards[row] for row in rows],
                    [lengths[row] for row in rows],
                    [row in truncated for row in rows],
                    [{"format": 0.0, "accuracy": rewards[row]} for row in rows],
                    image="reference" if with_image(start) else None,
                )
            )
        prompts = prompts or [Prompt(i, "here", "Find x.", "13", ()) for i in range(len(groups))]
        defaults = {"position": 0, "episode": 0, "num_drawn_in_episode": len(groups)}
        batch = make_batch(prompts, groups, Draw(**(defaults | draw)), pad_token_id=0)
        generator = torch.Generator().manual_seed(0)
        is_response = batch.action_mask.bool()
        shape = batch.action_mask.shape
        batch.action_log_probs = -torch.rand(shape, generator=generator) * is_response
        batch.rollout_log_probs = (batch.action_log_probs + 0.125) * is_response
        names = ("entropy", "visual_similarity", "image_dependence", "image_sensitivity")
        batch.signals = {name: torch.rand(shape, generator=generator) * is_response for name in names}
        return batch

    return make


@pytest.fixture
def write_whole_checkpoint():
    """Writes a checkpoint of a step into the run folder of a configuration, with one small file in it."""

    def write(config, step):
        checkpoint = config.checkpoints_dir / f"global_step{step}"
        folders.begin(checkpoint)
        states = folders.partial(checkpoint) / "states.pt"
        states.write_bytes(b"weights")
        folders.commit(checkpoint, {"states.pt": folders.seal(states)}, config)
        return checkpoint

    return write

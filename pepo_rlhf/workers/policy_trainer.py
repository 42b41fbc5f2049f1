"""The policy's updates: OpenRLHF's loop and losses, which a batch without a token to learn from does not break."""

from __future__ import annotations

from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer

from pepo_rlhf.workers.image_tensors import merge_image_tensors

_NO_TOKENS = 1e-9  # stands for 0 tokens: upstream divides by the sum over ranks


class PolicyTrainer(ActorPPOTrainer):
    """Upstream's trainer of the actor, with empty updates skipped and counted."""

    def ppo_train(self, kl_ctl: float) -> dict[str, float]:
        """Train on one batch and return its metrics; `skipped_updates` are those in which every response is masked."""
        self.strategy.num_skipped_updates = 0
        return super().ppo_train(kl_ctl) | {"skipped_updates": self.strategy.num_skipped_updates}

    def training_step(
        self, experience: Experience, kl_ctl: float, step: int, loss_batch_info: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Train on one micro-batch; where every response of it is masked its means are 0/0, and reported as 0."""
        images = merge_image_tensors(experience.mm_train_inputs, experience.sequences.device)
        experience.mm_train_inputs = [images] if images else []
        if self.args.train.dynamic_batch_enable:
            status = self._dynamic_step(experience, kl_ctl, step)
        else:
            status = super().training_step(experience, kl_ctl, step, loss_batch_info)
        if status["num_action_tokens"] == 0:
            status["num_action_tokens"] = _NO_TOKENS
            status["metrics"] = {name: _without_nan(value) for name, value in status["metrics"].items()}
        return status

    def _dynamic_step(self, experience: Experience, kl_ctl: float, step: int) -> dict[str, Any]:
        buffer = self.replay_buffer
        is_last, is_empty = bool(buffer.dynamic_optimizer_step[step]), buffer.dynamic_batch_num_tokens[step] == 0
        # Without a token to learn from upstream divides 0 by 0: the gradient is 0 instead, and no step is taken.
        nothing = {"dp_size": 1, "batch_num_tokens": 1, "global_batch_size": 1} if is_empty else None
        # Upstream leaves DeepSpeed to count to 1: the gradient of a step would be that of its last micro-batch.
        self.actor.model.set_gradient_accumulation_boundary(is_last and not is_empty)
        buffer.dynamic_optimizer_step[step] = int(is_last and not is_empty)
        status = super().training_step(experience, kl_ctl, step, nothing)
        buffer.dynamic_optimizer_step[step] = int(is_last)  # of another epoch too
        self.strategy.num_skipped_updates += is_last and is_empty
        self._shares_to_means(status, step)
        return status

    def _shares_to_means(self, status: dict[str, Any], step: int) -> None:
        """Turn losses that upstream reports as shares of their update's into the means that it averages later."""
        num_ranks = torch.distributed.get_world_size(self.strategy.ds_device_mesh["dp"].get_group())
        num_tokens = self.replay_buffer.dynamic_batch_num_tokens[step] / num_ranks
        for name in ("policy_loss", "kl", "entropy_loss"):
            if status["weights"].get(name) == "token":  # without a loss of its own, kl is a mean of each response
                status["metrics"][name] = status["metrics"][name] * (num_tokens / max(status["num_action_tokens"], 1))


def _without_nan(value: Any) -> Any:
    return torch.nan_to_num(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

"""The policy's updates: OpenRLHF's losses over the micro-batches that the controller has dealt to this rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from openrlhf.models import aggregate_loss
from openrlhf.models.utils import compute_approx_kl, masked_mean
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.config import Config
from pepo_rlhf.workers.image_tensors import merge_image_tensors


class Update(NamedTuple):
    """What one rank does in one optimiser step.

    Attributes:
        micro_batches: as many as every other rank has.
        num_tokens, num_responses: those that carry a loss, over all ranks and with those that are left out of
            `micro_batches` because their gradient is 0: the loss is divided by one of the two.
    """

    micro_batches: list[Experience]
    num_tokens: int
    num_responses: int


class PolicyTrainer:
    """Train the policy as OpenRLHF's ActorPPOTrainer does, on updates that are put together beforehand.

    Args:
        strategy: OpenRLHF's DeepspeedStrategy.
        actor: the model, prepared by it; ema_model: its moving average, or None.
        policy_loss: OpenRLHF's PolicyLoss.
        scheduler: of the learning rate.
    """

    def __init__(
        self, config: Config, strategy: Any, actor: Any, ema_model: Any, policy_loss: Any, scheduler: Any
    ) -> None:
        self.config, self.strategy, self.actor, self.ema_model = config, strategy, actor, ema_model
        self.policy_loss, self.scheduler = policy_loss, scheduler
        strategy.accumulated_gradient = 1  # of its moving average, which is asked for once an update

    def train(self, updates: Sequence[Update]) -> dict[str, float]:
        """Make the updates and return their metrics: means over updates, or over the tokens that took part.

        `skipped_updates` are those in which every response is masked: no step is taken.
        """
        self.actor.train()
        sums: dict[str, Any] = defaultdict(float)
        trainable = [update for update in updates if update.num_tokens > 0]
        for update in trainable:
            for number, micro_batch in enumerate(update.micro_batches, 1):
                # Their number may differ from update to update, which DeepSpeed's own count does not allow.
                self.actor.model.set_gradient_accumulation_boundary(number == len(update.micro_batches))
                for name, value in self._backward(micro_batch, update).items():
                    sums[name] += value.detach()
                self.actor.model.step()  # the optimiser's at the boundary only
            if self.ema_model is not None:
                beta = self.config.train.ema_beta
                self.strategy.moving_average(self.actor, self.ema_model, beta, torch.cuda.current_device())
        return self._metrics(sums, len(trainable)) | {"skipped_updates": len(updates) - len(trainable)}

    def _backward(self, micro_batch: Experience, update: Update) -> dict[str, torch.Tensor]:
        """Add the gradient of a micro-batch. Return its parts of the losses and its sums over tokens."""
        config, num_rows = self.config, sum(len(part.sequences) for part in update.micro_batches)
        micro_batch.to_device(torch.cuda.current_device())
        mask = micro_batch.action_mask
        normaliser = {
            "dp_size": self.strategy.world_size,  # DeepSpeed takes the mean over ranks
            "batch_num_tokens": update.num_tokens,
            "global_batch_size": update.num_responses,
        }
        log_probs, output = self.actor(
            micro_batch.sequences,
            mask,
            micro_batch.attention_mask,
            return_output=True,
            return_entropy=config.actor.entropy_coef is not None,
            **merge_image_tensors(micro_batch.mm_train_inputs, mask.device),
        )
        loss, clip_ratio, policy_kl, rollout_kl, filter_ratio = self.policy_loss(
            log_probs,
            micro_batch.action_log_probs,
            micro_batch.advantages,
            action_mask=mask,
            rollout_log_probs=micro_batch.rollout_log_probs,
            **normaliser,
        )
        losses = {"policy_loss": loss}
        means = {"ppo_clip_ratio": clip_ratio, "ppo_kl": policy_kl}
        if rollout_kl is not None:
            means |= {"vllm_kl": rollout_kl, "is_filter_ratio": filter_ratio}
        if config.algo.kl.use_loss and config.algo.kl.init_coef > 0:
            kl = compute_approx_kl(
                log_probs,
                micro_batch.base_action_log_probs,
                log_probs_old=micro_batch.action_log_probs,
                kl_estimator=config.algo.kl.estimator,
                unbiased_gradient=config.algo.kl.unbiased_gradient,
            )
            losses["kl"] = aggregate_loss(kl, mask, **normaliser)
            means["logprobs_diff"] = masked_mean(log_probs - micro_batch.base_action_log_probs, mask)
            loss = loss + losses["kl"] * config.algo.kl.init_coef
        if config.actor.entropy_coef is not None:
            losses["entropy_loss"] = aggregate_loss(output.entropy, mask, **normaliser)
            if config.actor.entropy_coef != 0:
                loss = loss - losses["entropy_loss"] * config.actor.entropy_coef
        if config.actor.aux_loss_coef > 1e-8:
            loss = loss + output.aux_loss * config.actor.aux_loss_coef * len(mask) / num_rows
        # The losses are shares of the update's already: DeepSpeed must not divide them by a number of micro-batches.
        self.actor.model.backward(loss, scale_wrt_gas=False)
        num_tokens = mask.sum()
        # The mean over a micro-batch without a token to learn from is 0 / 0.
        sums = {name: torch.nan_to_num(value) * num_tokens for name, value in means.items()}
        return losses | sums | {"num_tokens": num_tokens}

    def _metrics(self, sums: dict[str, Any], num_updates: int) -> dict[str, float]:
        """Return means of what the ranks have summed up, and the learning rate and gradient norm of the last update."""
        if num_updates == 0:
            return {}
        totals: dict[str, float] = {
            name: self.strategy.all_reduce(float(value), op="sum") for name, value in sorted(sums.items())
        }
        num_tokens, num_shares = totals.pop("num_tokens"), num_updates * self.strategy.world_size
        of_losses = ("policy_loss", "kl", "entropy_loss")
        metrics = {name: total / (num_shares if name in of_losses else num_tokens) for name, total in totals.items()}
        return metrics | {
            "actor_lr": self.scheduler.get_last_lr()[0],
            "actor_grad_norm": self.strategy.get_grad_norm(self.actor),
        }

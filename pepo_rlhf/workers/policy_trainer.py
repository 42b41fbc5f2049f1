"""The policy's updates: OpenRLHF's losses over the micro-batches that the controller has dealt to this rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from openrlhf.models import aggregate_loss
from openrlhf.models.utils import compute_approx_kl, masked_mean

from pepo_rlhf.config import Config
from pepo_rlhf.core.token_advantages import spread_advantages
from pepo_rlhf.core.token_weighting import TokenWeighting
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.micro_batch import PolicyScores, UpdateBatch
from pepo_rlhf.workers.similarity import similarity_of


class Weighing(NamedTuple):
    """How a single pass turns its own scores into token advantages.

    Attributes:
        signals: names of the signals to compute, those of the weighting among them.
        schedule_coefficient: p of the formula.
    """

    signals: Sequence[str]
    schedule_coefficient: float


class Update(NamedTuple):
    """What one rank does in one optimiser step.

    Attributes:
        micro_batches: as many as every other rank has.
        num_tokens, num_responses: those that carry a loss, over all ranks and with those that are left out of
            `micro_batches` because their gradient is 0: the loss is divided by one of the two.
        left_out: micro-batches of these, which a single pass scores all the same; as many on every rank.
        weighing: given with --train.single_pass.
    """

    micro_batches: Sequence[UpdateBatch]
    num_tokens: int
    num_responses: int
    left_out: Sequence[UpdateBatch] = ()
    weighing: Weighing | None = None


class PolicyTrainer:
    """Train the policy as OpenRLHF's ActorPPOTrainer does, on updates that are put together beforehand.

    Args:
        strategy: OpenRLHF's DeepspeedStrategy.
        actor: the model, prepared by it; ema_model: its moving average, or None.
        policy_loss: OpenRLHF's PolicyLoss.
        scheduler: of the learning rate.
        image_token_ids: those of the model's image placeholders.
    """

    def __init__(
        self,
        config: Config,
        strategy: Any,
        actor: Any,
        ema_model: Any,
        policy_loss: Any,
        scheduler: Any,
        image_token_ids: Collection[int],
    ) -> None:
        self.config, self.strategy, self.actor, self.ema_model = config, strategy, actor, ema_model
        self.policy_loss, self.scheduler, self.image_token_ids = policy_loss, scheduler, image_token_ids
        strategy.accumulated_gradient = 1  # of its moving average, which is asked for once an update

    @cached_property
    def weighting(self) -> TokenWeighting:
        """Return the weighting; only a single pass loads it here, where a user's file may not be."""
        return load_weighting(self.config.pepo.method, self.config.pepo.settings)

    def train(self, updates: Sequence[Update]) -> tuple[dict[str, float], list[PolicyScores]]:
        """Make the updates.

        Returns:
            Metrics, which are means over updates or over the tokens that took part; `skipped_updates` are those in
            which every response is masked: no step is taken.
            With --train.single_pass the scores of each update's micro-batches and of those left out, on the CPU.
        """
        sums: dict[str, Any] = defaultdict(float)
        scores: list[PolicyScores] = []
        num_steps = sum(update.num_tokens > 0 for update in updates)
        for update in updates:
            of_left_out = self._score(update.left_out, update.weighing)  # by the policy before the step
            if update.num_tokens > 0:
                scores += self._step(update, sums)
            else:
                scores += self._score(update.micro_batches, update.weighing)
            scores += of_left_out
        return self._metrics(sums, num_steps) | {"skipped_updates": len(updates) - num_steps}, scores

    def _step(self, update: Update, sums: dict[str, Any]) -> list[PolicyScores]:
        """Make one step of the optimiser, and add what its micro-batches measure to the sums."""
        self.actor.train()
        scores = []
        for number, micro_batch in enumerate(update.micro_batches, 1):
            # Their number may differ from update to update, which DeepSpeed's own count does not allow.
            self.actor.model.set_gradient_accumulation_boundary(number == len(update.micro_batches))
            micro_batch = micro_batch.to(torch.cuda.current_device())
            log_probs, output, signals = self._forward(micro_batch, update.weighing)
            if update.weighing is not None:
                micro_batch = self._weigh(micro_batch, log_probs.detach(), signals, update.weighing)
                scores.append(PolicyScores(log_probs.detach(), signals).on_cpu())
            for name, value in self._backward(micro_batch, log_probs, output, update).items():
                sums[name] += value.detach()
            self.actor.model.step()  # the optimiser's at the boundary only
        if self.ema_model is not None:
            device = torch.cuda.current_device()
            self.strategy.moving_average(self.actor, self.ema_model, self.config.train.ema_beta, device)
        return scores

    @torch.no_grad()
    def _score(self, micro_batches: Sequence[UpdateBatch], weighing: Weighing | None) -> list[PolicyScores]:
        """Return the scores of micro-batches that are not trained on; none unless a single pass needs them."""
        if weighing is None:
            return []
        self.actor.eval()
        device, scores = torch.cuda.current_device(), []
        for micro_batch in micro_batches:
            log_probs, _, signals = self._forward(micro_batch.to(device), weighing)
            scores.append(PolicyScores(log_probs, signals).on_cpu())
        return scores

    def _forward(
        self, micro_batch: UpdateBatch, weighing: Weighing | None
    ) -> tuple[torch.Tensor, Any, dict[str, torch.Tensor]]:
        """Return log-probs, the model's output, and in a single pass the signals."""
        config, (*batch, images, _) = self.config, micro_batch.rows
        tensors = merge_image_tensors(images, micro_batch.loss_mask.device)
        if weighing is None:
            with_entropy = config.actor.entropy_coef is not None
            return *self.actor(*batch, return_output=True, return_entropy=with_entropy, **tensors), {}
        similarity = similarity_of(micro_batch.rows, weighing.signals, self.image_token_ids, config.pepo)
        scorer = self.actor.scorer(with_entropy=True, entropy_has_gradient=bool(config.actor.entropy_coef))
        result: tuple[torch.Tensor, Any, dict[str, torch.Tensor]]
        result = self.actor.forward_with_signals(*batch, similarity, config.pepo.num_layers, scorer, **tensors)
        return result

    def _weigh(
        self, micro_batch: UpdateBatch, log_probs: torch.Tensor, signals: dict[str, torch.Tensor], weighing: Weighing
    ) -> UpdateBatch:
        """Return a micro-batch with old log-probs and token advantages from the update's own forward pass."""
        has_image = torch.tensor([image is not None for image in micro_batch.rows.image_tensors])
        _, advantages = spread_advantages(
            self.weighting,
            signals,
            micro_batch.loss_mask,
            micro_batch.advantages,
            weighing.schedule_coefficient,
            has_image.to(log_probs.device),
            self.config.pepo.no_image,
        )
        return micro_batch._replace(action_log_probs=log_probs, advantages=advantages)

    def _backward(
        self, micro_batch: UpdateBatch, log_probs: torch.Tensor, output: Any, update: Update
    ) -> dict[str, torch.Tensor]:
        """Add the gradient of a micro-batch. Return its parts of the losses and its sums over tokens."""
        config, mask = self.config, micro_batch.loss_mask
        num_rows = sum(len(part.loss_mask) for part in update.micro_batches)
        normaliser = {
            "dp_size": self.strategy.world_size,  # DeepSpeed takes the mean over ranks
            "batch_num_tokens": update.num_tokens,
            "global_batch_size": update.num_responses,
        }
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
            assert micro_batch.reference_log_probs is not None
            kl = compute_approx_kl(
                log_probs,
                micro_batch.reference_log_probs,
                log_probs_old=micro_batch.action_log_probs,
                kl_estimator=config.algo.kl.estimator,
                unbiased_gradient=config.algo.kl.unbiased_gradient,
            )
            losses["kl"] = aggregate_loss(kl, mask, **normaliser)
            means["logprobs_diff"] = masked_mean(log_probs - micro_batch.reference_log_probs, mask)
            loss = loss + losses["kl"] * config.algo.kl.init_coef
        if config.actor.entropy_coef is not None:
            losses["entropy_loss"] = aggregate_loss(output.entropy, mask, **normaliser)
            if config.actor.entropy_coef != 0:
                loss = loss - losses["entropy_loss"] * config.actor.entropy_coef
        if config.actor.aux_loss_coef > 0:
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

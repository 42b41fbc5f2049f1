"""The experience maker: group advantages in, token-level advantages out."""

from __future__ import annotations

import itertools

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from pepo_rlhf.config.validate import GROUP_ESTIMATORS
from pepo_rlhf.controller.prompt_count import PromptCount
from pepo_rlhf.core.token_advantages import token_advantages
from pepo_rlhf.core.token_weighting import SIGNALS
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.metrics.token_metrics import token_metrics
from pepo_rlhf.metrics.token_recorder import TokenRecorder
from pepo_rlhf.workers.model import PolicyScores


class PepoExperienceMaker(RemoteExperienceMaker):
    """Upstream's maker, which also spreads each response's advantage over its tokens.

    Similarity, entropy and weights stay here, on the controller: an Experience would drop them when it is
    concatenated or split, and the policy workers need the advantages only.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.step = 0  # that the next batch belongs to, from 1; set by the trainer
        self.metrics: dict[str, float] = {}  # of the last batch
        self.prompt_count = PromptCount()  # another one in a run that goes on
        self.token_recorder = TokenRecorder(self.args, self.tokenizer)
        self._scores: list[PolicyScores] = []  # of the current batch, one a micro-batch

    def _flatten_results(self, refs, duplicate_factor: int) -> list:
        """Keeps what the policy's forward returned and hands on its log-probs, all that upstream asks for."""
        results = super()._flatten_results(refs, duplicate_factor)
        if isinstance(results[0], PolicyScores):
            self._scores = results
            return [scores.action_log_probs for scores in results]
        return results

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences: list[Experience]) -> list[Experience]:
        """Upstream's advantages, exactly 0 in groups without reward spread if groups are compared, times the token
        weights."""
        # Each sample carries its prompt's place in the run; the first of the batch says what was consumed before it.
        progress = torch.cat([experience.info.pop("progress") for experience in experiences]).min().item()
        tasks = [experience.info.pop("task") for experience in experiences]
        prompts = self._count_prompts(experiences)
        experiences = super().compute_advantages_and_returns(experiences)
        flat = flat_responses(experiences, self.args.rollout.n_samples_per_prompt)
        has_kl_in_reward = self.initial_model_group is not None and not self.args.algo.kl.use_loss
        if self.advantage_estimator in GROUP_ESTIMATORS and not has_kl_in_reward:
            zero_advantages(experiences, flat)
        responses = [experience.action_mask.bool() for experience in experiences]
        unweighted = [experience.advantages for experience in experiences]
        num_filtered = drop_truncated(experiences) if self.args.algo.overlong_filtering_enable else 0
        weights = self._weights(experiences)
        exploration = self._exploration(progress)
        for experience, weight in zip(experiences, weights, strict=True):
            weighted = token_advantages(experience.advantages, weight, exploration)
            # Columns of the prompt keep upstream's value: with uniform weights no bit differs from upstream.
            experience.advantages = torch.where(experience.action_mask.bool(), weighted, experience.advantages)
        self.metrics = {
            "progress": progress,
            "overlong_filtered": num_filtered,
            "flat_groups": flat.float().mean().item(),
            **prompts,
            **token_metrics(
                _stack([experience.action_mask for experience in experiences]),
                _stack(list(weights)),
                {name: _stack([getattr(scores, name) for scores in self._scores]) for name in SIGNALS},
                _stack([experience.action_log_probs for experience in experiences]),
                _stack([experience.rollout_log_probs for experience in experiences]),
            ),
        }
        if self.token_recorder.is_due(self.step):
            tokens = {
                "mask": responses,
                "log_prob": [experience.action_log_probs for experience in experiences],
                "entropy": [scores.entropy for scores in self._scores],
                "similarity": [scores.visual_similarity for scores in self._scores],
                "weight": weights,
                "advantage_before": unweighted,
                "advantage": [experience.advantages * experience.action_mask for experience in experiences],
                "rollout_log_prob": [experience.rollout_log_probs for experience in experiences],
            }
            self.token_recorder.record(self.step, exploration, experiences, tasks, tokens)
        return experiences

    def _count_prompts(self, experiences: list[Experience]) -> dict[str, int]:
        """The metrics of PromptCount; takes what it needs out of the samples' info."""
        rows, episodes, drawn, dropped = (
            list(itertools.chain.from_iterable(experience.info.pop(name) for experience in experiences))
            for name in ("row", "episode", "episode_prompts_drawn", "prompts_dropped")
        )
        num_samples = self.args.rollout.n_samples_per_prompt
        return self.prompt_count.add(
            int(episodes[0]),
            sorted(rows)[::num_samples],
            int(sum(dropped)) // num_samples,
            int(max(drawn)),
        )

    def _weights(self, experiences: list[Experience]) -> tuple[torch.Tensor, ...]:
        """Token weights of the whole batch (one method thresholds over all of it), one [B, S - 1] a micro-batch."""
        settings = self.args.pepo
        masks = [experience.action_mask.bool() for experience in experiences]
        batch_mask = _stack(masks)
        weighting = load_weighting(settings.method, settings.settings)
        signals = {name: _stack([getattr(scores, name) for scores in self._scores]) for name in weighting.signals}
        weights = weighting(signals, batch_mask)
        images = itertools.chain.from_iterable(experience.mm_train_inputs for experience in experiences)
        has_image = torch.tensor([inputs is not None for inputs in images])
        if not has_image.all() and weighting.signals:
            if settings.no_image == "error":
                raise ValueError(
                    f"{int((~has_image).sum())} responses of this batch belong to prompts without an image; "
                    "--pepo.no_image uniform gives their tokens equal weights"
                )
            if settings.no_image == "uniform":
                weights = torch.where(has_image.unsqueeze(-1), weights, batch_mask.float())
        rows = weights.split([len(mask) for mask in masks])
        return tuple(row[:, : mask.shape[1]] for row, mask in zip(rows, masks, strict=True))

    def _exploration(self, progress: float) -> float:
        """p of the formula: how far from even to weighted advantages the run has come."""
        settings = self.args.pepo
        scheduled = load_weighting(settings.method, settings.settings).scheduled
        return progress if scheduled and settings.schedule == "linear" else 1.0


def flat_responses(experiences: list[Experience], num_samples: int) -> torch.Tensor:
    """[B] bool in the batch's order: whether the rewards of a response's group are all equal."""
    index = torch.tensor(list(itertools.chain.from_iterable(experience.index for experience in experiences)))
    rewards = torch.empty(len(index), dtype=torch.float64)
    rewards[index] = torch.cat([experience.rewards for experience in experiences]).double()
    groups = rewards.view(-1, num_samples)
    return (groups == groups[:, :1]).all(dim=-1).repeat_interleave(num_samples)


def zero_advantages(experiences: list[Experience], flat: torch.Tensor) -> None:
    """Sets the advantages of responses in flat groups to exactly 0, in place.

    Dividing by (std + 1e-9), upstream makes 0.92 out of eight float32 rewards of 0.7: their mean is not quite 0.7.
    """
    for experience in experiences:
        experience.advantages[flat[torch.tensor(experience.index)]] = 0.0


def drop_truncated(experiences: list[Experience]) -> int:
    """Takes responses that were cut off at the length limit out of the loss, in place, and returns how many.

    Their rewards have counted in their group's mean and spread (DAPO, arXiv 2503.14476, overlong filtering).
    """
    for experience in experiences:
        experience.action_mask = experience.action_mask * ~experience.truncated.bool().unsqueeze(-1)
    return int(sum(experience.truncated.sum() for experience in experiences))


def _stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Micro-batches [b, T_i] of different lengths as one [B, T], padded on the right with 0."""
    length = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([torch.nn.functional.pad(tensor, (0, length - tensor.shape[1])) for tensor in tensors])

"""The experience maker: rewards and scores of a batch in, token-level advantages out."""

from __future__ import annotations

from typing import Any

import torch
from openrlhf.models.utils import compute_approx_kl

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.controller.grader_errors import neutral_rewards
from pepo_rlhf.controller.token_recorder import token_texts
from pepo_rlhf.core.group_advantages import advantages
from pepo_rlhf.core.rewards import shape_rewards
from pepo_rlhf.core.signal import ResponseText, response_values
from pepo_rlhf.core.token_advantages import spread_advantages
from pepo_rlhf.core.weighting import load_weighting


class PepoExperienceMaker:
    """Spread the group advantage of each response over its tokens.

    Signals and weights stay on the controller: the policy's update needs the advantages only.

    Args:
        processor: the policy's processor or tokenizer, for signals that come from the text of a response.
    """

    def __init__(self, config: Config, processor: Any = None) -> None:
        self.config = config
        self.weighting = load_weighting(config.pepo.method, config.pepo.settings)
        self.tokenizer = getattr(processor, "tokenizer", processor)

    def make(self, batch: Batch, progress: float) -> None:
        """Add loss mask, token weights and advantages to a scored batch, and put its shaped rewards in place.

        Args:
            progress: prompts consumed before this batch as a share of the whole run's.

        Raises:
            ValueError: if prompts have no image and --pepo.no_image is error.
        """
        self.compare_groups(batch)
        self.weigh_tokens(batch, progress)

    @torch.no_grad()
    def compare_groups(self, batch: Batch) -> None:
        """Add shaped rewards, loss mask and the advantages of the responses, for which no signal is needed."""
        batch.rewards = self._shaped_rewards(batch)
        batch.unweighted_advantages = self._response_advantages(batch)
        batch.loss_mask = batch.action_mask
        if self.config.algo.overlong_filtering_enable:
            # Rewards of truncated responses have counted in their group (DAPO, arXiv 2503.14476, overlong filtering).
            batch.loss_mask = batch.action_mask * ~batch.truncated.unsqueeze(-1)

    @torch.no_grad()
    def weigh_tokens(self, batch: Batch, progress: float) -> None:
        """Add the weights of the whole batch, over which some methods threshold, and the weighted advantages.

        Raise as `make`.
        """
        batch.weights, batch.advantages = spread_advantages(
            self.weighting,
            {**batch.signals, **self._response_signals(batch)},
            batch.loss_mask,
            batch.unweighted_advantages,
            self.schedule_coefficient(progress),
            batch.has_image,
            self.config.pepo.no_image,
        )

    def schedule_coefficient(self, progress: float) -> float:
        """Return p of the formula: the influence of the token weights at this point of the run."""
        is_constant = self.config.pepo.schedule == "constant" or not self.weighting.scheduled
        return 1.0 if is_constant else progress

    def _response_signals(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the signals that come from the responses' texts, [B, S - 1] by name."""
        functions = self.weighting.response_signals
        if not functions:
            return {}
        found = {name: torch.zeros(batch.action_mask.shape) for name in functions}
        for row, prompt in enumerate(batch.prompts):
            mask = batch.action_mask[row].bool()
            texts = token_texts(self.tokenizer, batch.sequences[row, 1:][mask].tolist())
            response = ResponseText(texts, prompt.label, prompt.text, prompt.datasource)
            for name, values in response_values(functions, response).items():
                found[name][row][mask] = values
        return found

    def _shaped_rewards(self, batch: Batch) -> torch.Tensor:
        settings = self.config.reward
        failed = torch.tensor([error is not None for error in batch.grader_errors])
        return shape_rewards(
            neutral_rewards(batch.rewards, failed, batch.num_samples),
            batch.response_lengths,
            batch.truncated,
            max_new_tokens=self.config.rollout.max_new_tokens or self.config.data.max_len,
            overlong_buffer_len=settings.overlong_buffer_len,
            overlong_penalty_factor=settings.overlong_penalty_factor,
            stop_properly_coef=settings.stop_properly_penalty_coef,
        )

    def _response_advantages(self, batch: Batch) -> torch.Tensor:
        algo = self.config.algo
        kl = None
        if batch.reference_log_probs is not None and not algo.kl.use_loss:
            kl = compute_approx_kl(batch.action_log_probs, batch.reference_log_probs, kl_estimator=algo.kl.estimator)
        return advantages(
            batch.rewards,
            batch.action_mask,
            algo.advantage.estimator,
            batch.num_samples,
            kl=kl,
            kl_coef=algo.kl.init_coef,
            clip_range=self.config.reward.clip_range,
            no_std_norm=algo.advantage.no_std_norm,
            std_epsilon=algo.advantage.std_epsilon,
        )

"""The policy worker: scores experience, trains, sends its weights to the rollout engines."""

from __future__ import annotations

import ray
import torch
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.core import VisualSimilarity, sequence_mask, vision_mask
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.pipeline import wiring
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.model import PolicyScores


class PolicyWorker(PolicyModelActor.__ray_metadata__.modified_class):
    """Upstream's policy actor, whose experience forward returns three score tensors where upstream returns one."""

    def __init__(self, *args, **kwargs) -> None:
        wiring.apply()
        super().__init__(*args, **kwargs)

    def init_model_from_pretrained(self, strategy, pretrain, max_steps=None, vllm_engines=None) -> None:
        """Upstream's, with the whole processor where upstream loads (and later saves) its tokenizer alone."""
        super().init_model_from_pretrained(strategy, pretrain, max_steps, vllm_engines)
        self.tokenizer = get_tokenizer(pretrain, None)

    def forward(
        self,
        sequences: torch.Tensor,
        action_mask: torch.Tensor,
        attention_mask: torch.Tensor,
        packed_seq_lens=None,
        mm_train_inputs_list: list | None = None,
    ) -> PolicyScores:
        """Scores one micro-batch of experience; see PolicyScores for the shapes. On the CPU, float32."""
        device = torch.cuda.current_device()
        sequences, action_mask, attention_mask = (
            tensor.to(device) for tensor in (sequences, action_mask, attention_mask)
        )
        mask = self._vision_mask(sequences, action_mask, attention_mask, mm_train_inputs_list or [])
        similarity = VisualSimilarity(mask, self.strategy.args.pepo.similarity)
        self.actor.eval()
        scores = self.actor.score(
            sequences,
            action_mask,
            attention_mask,
            similarity,
            **merge_image_tensors(mm_train_inputs_list or [], device),
        )
        self.actor.train()
        return PolicyScores(*(tensor.float().cpu() for tensor in scores))

    def probe(self, **batch) -> torch.Tensor:
        """Log-probs of `forward` at temperature 1, at which the engine scores a text that it has not sampled."""
        self.actor.sampling_temperature, sampling_temperature = 1.0, self.actor.sampling_temperature
        try:
            return self.forward(**batch).action_log_probs
        finally:
            self.actor.sampling_temperature = sampling_temperature

    def _vision_mask(self, sequences, action_mask, attention_mask, images: list) -> torch.Tensor:
        mask = vision_mask(sequences, action_mask, vision_token_ids(self.tokenizer))
        num_images, num_seen = sum(image is not None for image in images), int(mask.any(dim=-1).sum())
        if num_images != num_seen:  # the policy would train blind, and nothing else would show it
            raise ValueError(f"{num_images} prompts of a micro-batch have images, {num_seen} have image tokens")
        if self.strategy.args.pepo.no_image == "sequence":
            without_image = ~mask.any(dim=-1, keepdim=True)
            mask = torch.where(without_image, sequence_mask(attention_mask), mask)
        return mask


PolicyActor = ray.remote(num_gpus=1)(PolicyWorker)

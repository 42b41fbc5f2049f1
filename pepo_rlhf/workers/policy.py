"""The policy worker: scores experience, trains, sends its weights to the rollout engines."""

from __future__ import annotations

import operator
from pathlib import Path

import ray
import torch
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.checkpoints import folders, states
from pepo_rlhf.compat import wiring
from pepo_rlhf.core.masks import sequence_mask, vision_mask
from pepo_rlhf.core.similarity import VisualSimilarity
from pepo_rlhf.data.vision_tokens import vision_token_ids
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
        args = strategy.args
        if args.ckpt.resume_from is not None:
            if args.ds.enable_sleep:
                self.reload_states()
            states.load(self.actor.model, self.ema_model, Path(args.ckpt.resume_from), args)
            if args.ds.enable_sleep:
                self.offload_states()

    def rejoin_engines(self) -> None:
        """Forms the group that weights travel over anew, after an engine has been restarted. Not run on GPUs yet."""
        self.trainer.__dict__.pop("_packed_transfer", None)  # opened again at the next sync
        if self.strategy.is_rank_0() and not self.trainer.use_cuda_ipc:
            self.trainer._init_vllm_sync_group(self.strategy.args.vllm.sync_backend)

    def save_checkpoint(self, tag, client_states=None, metric_value=None, metric_key=None) -> None:
        """Writes `<ckpt.path>/<tag>` and removes what is then too old. Upstream removes first, and the worst first.

        Upstream's trainer calls it; the metric of the best checkpoint is in `client_states`, too.
        """
        args = self.strategy.args
        folder = Path(args.ckpt.path, tag)
        if not args.ckpt.disable_ds:
            states.save(self.actor.model, self.ema_model, folder, client_states or {}, args)
            if self.strategy.is_rank_0():
                folders.prune(folder, args.ckpt.max_num, args.ckpt.max_mem)
        if args.ckpt.save_hf:
            model = self.ema_model if args.train.enable_ema else self.actor
            self.strategy.save_model(model, self.tokenizer, f"{folder}_hf")

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
        is_response = torch.nn.functional.pad(action_mask, (1, 0))  # column j is of position j + 1
        similarity = VisualSimilarity(mask, self.strategy.args.pepo.similarity, is_response)
        self.actor.eval()
        scores = self.actor.score(
            sequences,
            action_mask,
            attention_mask,
            similarity,
            self.strategy.args.pepo.num_layers,
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
        has_image = [image is not None for image in images] or [False] * len(mask)
        num_wrong = sum(map(operator.ne, has_image, mask.any(dim=-1).tolist()))
        if num_wrong:  # the policy would train blind, and nothing else would show it
            raise ValueError(
                f"{num_wrong} prompts of a micro-batch have an image without image tokens, or tokens without an image"
            )
        if self.strategy.args.pepo.no_image == "sequence":
            without_image = ~mask.any(dim=-1, keepdim=True)
            mask = torch.where(without_image, sequence_mask(attention_mask), mask)
        return mask


PolicyActor = ray.remote(num_gpus=1)(PolicyWorker)

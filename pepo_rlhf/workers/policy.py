"""The policy worker: scores experience, trains on it, sends its weights to the rollout engines, keeps checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.checkpoints import folders, states
from pepo_rlhf.checkpoints.adapters import save_adapters
from pepo_rlhf.compat import log_files
from pepo_rlhf.config import Config
from pepo_rlhf.core.signals import describe
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.weight_sync.sync import WeightSync
from pepo_rlhf.weight_sync.weights import PolicyWeights
from pepo_rlhf.workers.adapters import without_adapters
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.micro_batch import MicroBatch, PolicyScores
from pepo_rlhf.workers.policy_trainer import PolicyTrainer, Update
from pepo_rlhf.workers.similarity import similarity_of


class PolicyWorker(PolicyModelActor.__ray_metadata__.modified_class):
    """OpenRLHF's policy actor, which also returns what hidden states and logits say of each token."""

    def init_model_from_pretrained(
        self, strategy: Any, config: Config, max_steps: int, engines: list[Any], resume_from: Path | None = None
    ) -> None:
        """Load the model, prepare DeepSpeed, meet the engines, and load a checkpoint if there is one to resume from.

        Args:
            strategy: OpenRLHF's DeepspeedStrategy.
            max_steps: optimiser steps of the run, for the learning-rate schedule.
            engines: RolloutWorkers.
            resume_from: folder of a checkpoint.
        """
        log_files.name(f"policy_{self._rank}")
        name = config.actor.model_name_or_path
        # Without engines upstream opens no NCCL group of its own.
        super().init_model_from_pretrained(strategy, name, max_steps, vllm_engines=None)
        self.config = config
        self.tokenizer = get_tokenizer(name, None)  # the whole processor, where upstream keeps the tokenizer alone
        self.image_token_ids = vision_token_ids(self.tokenizer)
        models, of_upstream = (self.actor, self.ema_model), (self.trainer.actor_loss_fn, self.actor_scheduler)
        self.policy_trainer = PolicyTrainer(config, strategy, *models, *of_upstream, self.image_token_ids)
        self.weight_sync = WeightSync(config, self.actor.model.module, engines)
        if resume_from is not None:
            self._load_checkpoint(resume_from)

    def score(self, micro_batch: MicroBatch, signals: Sequence[str] = ()) -> PolicyScores:
        """Return log-probs, entropy and the signals of these names of a micro-batch, on the CPU.

        They come from one forward pass, or from two where a signal looks at perturbed images. What is asked for is the
        same for all ranks, so that all of them make the second one, as a partitioned model needs it.

        Raises:
            ValueError: if a row has an image without image tokens, or tokens without an image.
        """
        device, pepo = torch.cuda.current_device(), self.config.pepo
        rows = micro_batch.to(device)
        *batch, images, perturbed_images = rows
        similarity = similarity_of(rows, signals, self.image_token_ids, pepo)
        self.actor.eval()
        perturbed = None
        if any(describe(name).perturbs_images for name in signals):
            perturbed = merge_image_tensors(list(perturbed_images), device)
        tensors = merge_image_tensors(images, device)
        scores: PolicyScores = self.actor.score(*batch, similarity, pepo.num_layers, perturbed, **tensors)
        self.actor.train()
        return scores.on_cpu()

    def train(self, updates: Sequence[Update]) -> tuple[dict[str, float], list[PolicyScores]]:
        """Make this rank's part of the updates and return what `PolicyTrainer.train` does."""
        torch.cuda.empty_cache()
        result = self.policy_trainer.train(updates)
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
        return result

    @torch.no_grad()
    def reference_log_probs(self, micro_batch: MicroBatch) -> torch.Tensor:
        """Return what ReferenceWorker's method does, from the policy with its adapters off, which is the reference."""
        device = torch.cuda.current_device()
        *batch, images, _ = micro_batch.to(device)
        self.actor.eval()
        with without_adapters(self.actor.model.module):
            log_probs = self.actor(*batch, **merge_image_tensors(images, device)).cpu()
        self.actor.train()
        return log_probs

    def probe(self, micro_batch: MicroBatch) -> torch.Tensor:
        """Return log-probs at temperature 1, at which an engine scores a text that it has not sampled."""
        self.actor.sampling_temperature, sampling_temperature = 1.0, self.actor.sampling_temperature
        try:
            return self.score(micro_batch).action_log_probs
        finally:
            self.actor.sampling_temperature = sampling_temperature

    def send_weights(self, version: int) -> None:
        """Send the weights, which `version` training steps have made, to every engine."""
        self.weight_sync.send(version)

    def reconnect_engines(self) -> None:
        """Meet the engines anew after one of them was started again. Not run on GPUs yet."""
        self.weight_sync.reconnect()

    def save_checkpoint(self, tag: str, trainer_states: dict[str, Any]) -> None:
        """Write <checkpoints_dir>/<tag> and then remove what is too old, so that a whole one is always there."""
        config, folder = self.config, self.config.checkpoints_dir / tag
        if not config.ckpt.disable_ds:
            states.save(self.actor.model, self.ema_model, folder, trainer_states, config)
            if self.strategy.is_rank_0():
                folders.prune(folder, config.ckpt.max_num, config.ckpt.max_mem)
        if config.ckpt.save_hf and config.has_adapters:
            self._save_merged(Path(f"{folder}_hf"))
        elif config.ckpt.save_hf:
            model = self.ema_model if config.train.enable_ema else self.actor
            self.strategy.save_model(model, self.tokenizer, f"{folder}_hf")

    def save_model(self) -> None:
        """Write the trained model to the run folder, or its adapters, and with --ckpt.save_merged the merged model."""
        config = self.config
        if not config.has_adapters:
            super().save_model()
            return
        save_adapters(self.actor.model.module, config.ds.zero_stage, config.adapter_dir)
        if config.ckpt.save_merged:
            self._save_merged(config.model_dir)

    def _save_merged(self, folder: Path) -> None:
        """Write a Hugging Face model with the adapters merged in, which rank 0 gathers in host memory."""
        model, is_writer = self.actor.model.module, self.strategy.is_rank_0()
        weights = {}
        for name, tensor in PolicyWeights(model, self.config.ds.zero_stage).as_in_model():
            if is_writer:
                weights[name] = tensor.to("cpu", copy=True)
        if is_writer:
            model.save_pretrained(folder, state_dict=weights)
            self.tokenizer.save_pretrained(folder)
        torch_dist_barrier_and_cuda_sync()

    def _load_checkpoint(self, checkpoint: Path) -> None:
        if self.config.ds.enable_sleep:
            self.reload_states()
        states.load(self.actor.model, self.ema_model, checkpoint, self.config)
        if self.config.ds.enable_sleep:
            self.offload_states()


PolicyActor = ray.remote(num_gpus=1)(PolicyWorker)

"""The policy's updates, and how its weights reach the rollout engines and both sides know that they did."""

from __future__ import annotations

import socket
from functools import cached_property

import deepspeed
import ray
import torch
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from openrlhf.utils.distributed_util import torch_dist_barrier_and_cuda_sync

from pepo_rlhf.controller.recovery import DEATHS, SyncInterrupted
from pepo_rlhf.weight_sync.packed import EnginesClient, PolicyWeights, open_packed_transfer

_NO_TOKENS = 1e-9  # the weight of a micro-batch's means if it has none: upstream divides by the sum over ranks


class PolicyTrainer(ActorPPOTrainer):
    """Upstream's update loop, which nothing to learn from does not break, and a sync that drains, transfers, verifies
    and resets."""

    num_syncs = 0  # weight syncs so far, failed ones too
    _died: Exception | None = None  # of an engine, in the sync that is under way

    def _init_vllm_sync_group(self, backend: str) -> None:
        """Upstream's NCCL group between trainer and engines; there is none on the CPU, where weights go by Ray."""
        packed = self.args.vllm.packed_weight_transfer
        if packed and not torch.cuda.is_available():
            raise ValueError("--vllm.packed_weight_transfer needs CUDA: leave it out on a CPU")
        if torch.cuda.is_available() and not packed:
            super()._init_vllm_sync_group(backend)

    def ppo_train(self, kl_ctl: float) -> dict[str, float]:
        """Upstream's update of one batch; `skipped_updates` counts those in which every response was masked."""
        self.strategy.num_skipped_updates = 0
        return super().ppo_train(kl_ctl) | {"skipped_updates": self.strategy.num_skipped_updates}

    def training_step(self, experience, kl_ctl, step, loss_batch_info=None) -> dict:
        """Upstream's micro-batch; where every response of it is masked its means are 0/0, and reported as 0."""
        versions = experience.info["weights_version"]  # one a response: a list in the replay buffer
        experience.info["weights_age"] = [self.num_syncs - version for version in versions]
        if self.args.train.dynamic_batch_enable:
            status = self._dynamic_step(experience, kl_ctl, step)
        else:
            status = super().training_step(experience, kl_ctl, step, loss_batch_info)
        if status["num_action_tokens"] == 0:
            status["num_action_tokens"] = _NO_TOKENS
            status["metrics"] = {
                name: torch.nan_to_num(value)
                if isinstance(value, torch.Tensor) and value.is_floating_point()
                else value
                for name, value in status["metrics"].items()
            }
        return status

    def _dynamic_step(self, experience, kl_ctl: float, step: int) -> dict:
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

    def _shares_to_means(self, status: dict, step: int) -> None:
        """Of a dynamic batch upstream reports losses as shares of their update's, and then takes their token mean."""
        num_ranks = torch.distributed.get_world_size(self.strategy.ds_device_mesh["dp"].get_group())
        num_tokens = self.replay_buffer.dynamic_batch_num_tokens[step] / num_ranks
        for name in ("policy_loss", "kl", "entropy_loss"):
            if status["weights"].get(name) == "token":  # without a loss of its own, kl is a mean of each response
                status["metrics"][name] = status["metrics"][name] * (num_tokens / max(status["num_action_tokens"], 1))

    def broadcast_to_vllm(self) -> None:
        """One sync: engines finish what is in flight, take the weights, and forget everything computed with old ones.

        Where an engine dies all ranks of the policy still get to the end, so that none waits for another. A transfer by
        NCCL alone, if it has begun, cannot go on without an engine, and raises at once what Ray or vLLM raise.

        Raises:
            SyncInterrupted: at the end, on rank 0, if an engine has died.
            RuntimeError: if a trainable parameter did not reach every engine; it is named.
        """
        self._died = None
        self._on_engines("begin_weight_update")
        torch_dist_barrier_and_cuda_sync()
        if self.strategy.all_reduce(float(self._died is not None), op="max") == 0:
            self._transfer()
        self.num_syncs += 1
        received = self._on_engines("finish_weight_update", self.num_syncs)
        trainable = {name for name, weight in self.actor.model.module.named_parameters() if weight.requires_grad}
        for engine, names in enumerate(received):
            if missing := sorted(trainable - set(names)):
                raise RuntimeError(f"rollout engine {engine} did not receive {len(missing)} weights: {missing[:5]}")
        torch_dist_barrier_and_cuda_sync()
        if self._died is not None:
            raise SyncInterrupted from self._died

    def _transfer(self) -> None:
        if not torch.cuda.is_available():
            self._reload_engines()
        elif self.args.vllm.packed_weight_transfer:
            self._packed_transfer.send_weights()
        else:
            super().broadcast_to_vllm()

    @cached_property
    def _packed_transfer(self):
        """vLLM's sender, opened at the first sync, on every rank."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            port = listener.getsockname()[1]
        return open_packed_transfer(
            EnginesClient(self.vllm_engines, self.args.vllm.tensor_parallel_size),
            PolicyWeights(self.actor.model.module, self.args.ds.zero_stage),
            ray.util.get_node_ip_address(),
            port,
            torch.distributed.get_rank(),
        )

    def _reload_engines(self) -> None:
        """All parameters in one transfer: vLLM's reload leaves weights it does not receive uninitialised."""
        parameters = list(self.actor.model.module.named_parameters())
        weights = {}
        for name, parameter in parameters:
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.args.ds.zero_stage == 3):
                if torch.distributed.get_rank() == 0:
                    weights[name] = parameter.data.clone()
        self._on_engines("reload_weights", ray.put(weights))

    def _on_engines(self, method: str, *args) -> list:
        """Calls a method of every engine from rank 0 and waits for all; on other ranks, or if one is dead, nothing."""
        if torch.distributed.get_rank() != 0:
            return []
        calls = [getattr(engine, method).remote(*args) for engine in self.vllm_engines]
        ray.wait(calls, num_returns=len(calls))
        try:
            return ray.get(calls)
        except DEATHS as death:
            self._died = death
            return []

"""Weights through a file in memory: the transport of machines without a GPU.

vLLM repacks linear weights on a CPU, so they cannot be copied in one by one. One reload takes all of them: weights that
a reload does not bring stay uninitialised.
"""

from __future__ import annotations

import ray
import torch

from pepo_rlhf.weight_sync.calls import EngineCalls
from pepo_rlhf.weight_sync.weights import PolicyWeights


class FileTransport:
    """Put all weights into Ray's object store; each engine writes them to a file in memory, which vLLM reloads."""

    def __init__(self, engines: EngineCalls) -> None:
        self.engines = engines

    def connect(self) -> None:
        """Do nothing: Ray carries the weights."""

    def send(self, weights: PolicyWeights) -> None:
        """Gather the weights on rank 0 and let every engine reload them."""
        is_sender = torch.distributed.get_rank() == 0
        gathered = {name: tensor.clone() for name, tensor in weights if is_sender}
        self.engines.call("reload_weights", ray.put(gathered) if is_sender else None)

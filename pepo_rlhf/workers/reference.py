"""The reference worker: log-probs under the policy that training started from."""

from __future__ import annotations

from typing import Any

import ray
import torch
from openrlhf.trainer.ray.launcher import ReferenceModelActor

from pepo_rlhf.compat import log_files
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.micro_batch import MicroBatch


class ReferenceWorker(ReferenceModelActor.__ray_metadata__.modified_class):
    """OpenRLHF's reference actor, with images that rows share encoded once."""

    def init_model_from_pretrained(self, *args: Any) -> None:
        """Load the model."""
        log_files.name(f"reference_{self._rank}")
        super().init_model_from_pretrained(*args)

    @torch.no_grad()
    def reference_log_probs(self, micro_batch: MicroBatch) -> torch.Tensor:
        """Return the log-probs of the response tokens, [B, S - 1] float32 on the CPU, 0 outside the response."""
        device = torch.cuda.current_device()
        *batch, images, _ = micro_batch.to(device)
        return self.model(*batch, **merge_image_tensors(images, device)).cpu()


ReferenceActor = ray.remote(num_gpus=1)(ReferenceWorker)

"""Host memory of one batch's image tensors on their way from rollout to the policy's replay buffer.

64 prompts of 8 samples, one image of 1600 patches each (7.5 MB of float32 pixels), through real Ray processes: a
rollout returns the samples, the controller makes experiences of them, and policy and reference take them in
micro-batches. Stock carries a copy of the tensors in every sample; here a prompt's samples share a reference.
"""

from __future__ import annotations

import psutil
import ray
import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.workers.image_tensors import merge_image_tensors, share_image_tensors
from pepo_rlhf.workers.responses import Group

NUM_PROMPTS, NUM_SAMPLES, MICRO_BATCH, PATCHES = 64, 8, 8, 1600


@ray.remote(num_cpus=0)
class Rollout:
    def responses(self, shared_processing: bool) -> list[dict]:
        tensors = self._process()
        return [
            {"mm_train_inputs": tensors if shared_processing else self._process()}  # stock: once a sample
            for _ in range(NUM_SAMPLES)
        ]

    def _process(self) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.randn(PATCHES, 1176), "image_grid_thw": torch.tensor([[1, 40, 40]])}


@ray.remote(num_cpus=0)
class Worker:
    """Policy or reference: sees each micro-batch in a forward, and the policy keeps it until its update is done."""

    def __init__(self) -> None:
        self.buffer: list[Experience] = []

    def forward(self, images: list) -> int:
        return merge_image_tensors(images, "cpu")["pixel_values"].shape[0]

    def append(self, experiences: list[Experience]) -> None:
        self.buffer += experiences


def run(rounds: int) -> list[dict]:
    rows = []
    for variant in ("stock: a copy in every sample", "ours: a reference in every sample"):
        peak = _peak_mib(variant.startswith("ours"))
        rows.append({"benchmark": "image tensors of 64 prompts x 8 samples", "variant": variant, "peak_mib": peak})
        rows[-1]["memory_ratio"] = peak / rows[0]["peak_mib"]
    return rows


def _peak_mib(ours: bool) -> float:
    """Private memory of the processes plus the object store, at its highest."""
    ray.init(num_cpus=4, object_store_memory=12 * 2**30, log_to_driver=False)
    try:
        rollout, policy, reference = Rollout.remote(), Worker.remote(), Worker.remote()
        ray.get([worker.__ray_ready__.remote() for worker in (rollout, policy, reference)])  # they have loaded torch
        base, peak = _used_mib(), 0.0
        samples = []
        for _ in range(NUM_PROMPTS):
            group = ray.get(rollout.responses.remote(ours))
            if ours:
                shared = share_image_tensors(Group([], group[0]["mm_train_inputs"], [])).image_tensors
                group = [{"mm_train_inputs": shared}] * len(group)
            samples += [Experience(index=[0], mm_train_inputs=[sample["mm_train_inputs"]]) for sample in group]
        for start in range(0, len(samples), MICRO_BATCH):
            batch = samples[start : start + MICRO_BATCH]
            images = [experience.mm_train_inputs[0] for experience in batch]
            ray.get([worker.forward.remote(images) for worker in (policy, reference)])
            peak = max(peak, _used_mib())
        for start in range(0, len(samples), MICRO_BATCH):
            ray.get(policy.append.remote(samples[start : start + MICRO_BATCH]))
            peak = max(peak, _used_mib())
        return peak - base
    finally:
        ray.shutdown()


def _used_mib() -> float:
    """Of this process and its Ray workers what each has for itself, and of the object store what is in use."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    private = sum(process.memory_info().rss - process.memory_info().shared for process in processes)
    total, free = (ray.cluster_resources(), ray.available_resources())
    store = total["object_store_memory"] - free.get("object_store_memory", 0.0)
    return (private + store) / 2**20

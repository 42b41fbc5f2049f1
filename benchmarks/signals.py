"""The policy's experience forward with each signal, beside the one with log-probs and entropy alone, at `forward`'s
shapes. Image dependence and sensitivity make a second pass."""

from __future__ import annotations

import torch

from benchmarks.forward import BATCH, build_batch, build_model
from benchmarks.measure import DEVICE, compare_with_memory
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.workers.model import VisionLanguageActor


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    model = build_model()
    batch, images = build_batch(model)
    actor = VisionLanguageActor(model)
    actor.is_vlm, actor._vlm_config, actor.packing_samples = True, model.config, False
    is_image, is_response = batch[0] == model.config.image_token_id, torch.nn.functional.pad(batch[1], (1, 0))
    images |= {"image_index": torch.arange(BATCH, device=DEVICE)}
    perturbed = images | {"pixel_values": torch.zeros_like(images["pixel_values"])}

    def similarity() -> VisualSimilarity:
        return VisualSimilarity(is_image, response_mask=is_response)

    variants = {
        "entropy": lambda: actor.score(*batch, **images),
        "entropy, similarity": lambda: actor.score(*batch, similarity(), **images),
        "two forwards with entropy": lambda: [actor.score(*batch, **tensors) for tensors in (images, perturbed)],
        "entropy, dependence, sensitivity": lambda: actor.score(*batch, None, None, perturbed, **images),
    }

    def check() -> None:
        signals = variants["entropy, dependence, sensitivity"]().signals
        assert signals["image_dependence"].max() > 0 and signals["image_sensitivity"].max() > 0

    return compare_with_memory({"signals": variants}, check, rounds, {"signals": "entropy"})

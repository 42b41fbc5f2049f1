"""The one place that makes OpenRLHF use this project's classes where it hard-codes its own."""

from __future__ import annotations

import importlib
from typing import NamedTuple


class Rebinding(NamedTuple):
    module: str  # upstream module whose global name is rebound
    name: str
    replacement: str  # "module:attribute" of ours
    upstream: str  # what upstream does instead


REBINDINGS = (
    Rebinding(
        "openrlhf.trainer.ray.ppo_actor",
        "Actor",
        "pepo_rlhf.workers.model:VisionLanguageActor",
        "computes float32 logits of every position, returns log-probs only, and takes flash_attention_2 for granted",
    ),
    Rebinding(
        "openrlhf.trainer.ray.launcher",
        "Actor",
        "pepo_rlhf.workers.model:VisionLanguageActor",
        "the same, in the reference worker",
    ),
    Rebinding(
        "openrlhf.utils.utils",
        "convert_to_torch_dtype",
        "pepo_rlhf.workers.model:convert_to_torch_dtype",
        "knows bf16 and fp16, which CPUs without their instructions compute 25 times slower than fp32",
    ),
    Rebinding(
        "openrlhf.trainer.ray.ppo_actor",
        "ActorPPOTrainer",
        "pepo_rlhf.workers.policy_trainer:PolicyTrainer",
        "sends weights over CUDA transports only, and leaves stale image embeddings in the engines",
    ),
    Rebinding(
        "openrlhf.trainer.ray.ppo_actor",
        "iter_grad_accum_global_norm",
        "pepo_rlhf.workers.update_windows:trainable_windows",
        "divides 0 by 0 in an update in which every response is masked",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer",
        "RemoteExperienceMaker",
        "pepo_rlhf.controller.experience_maker:PepoExperienceMaker",
        "gives every token of a response the same advantage",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer",
        "SamplesGenerator",
        "pepo_rlhf.controller.rollouts:PepoSamplesGenerator",
        "batches prompts in order of completion, and lets image placeholders be sampled",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer_async",
        "SamplesGenerator",
        "pepo_rlhf.controller.rollouts:PepoSamplesGenerator",
        "the same, in the asynchronous trainer",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer",
        "prepare_datasets",
        "pepo_rlhf.controller.prompts:prepare_datasets",
        "skips unreadable images, and runs a partial last batch that ranks cannot share evenly",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer_async",
        "prepare_datasets",
        "pepo_rlhf.controller.prompts:prepare_datasets",
        "the same, in the asynchronous trainer",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer",
        "compute_eval_metrics",
        "pepo_rlhf.evaluation.metrics:compute_eval_metrics",
        "reports the mean reward, without its components or an interval",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer_async",
        "compute_eval_metrics",
        "pepo_rlhf.evaluation.metrics:compute_eval_metrics",
        "the same, in the asynchronous trainer",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer_async",
        "GenerateSamplesActor",
        "pepo_rlhf.controller.trainer_async:GenerateActor",
        "starts a process that knows nothing of this list",
    ),
    Rebinding(
        "openrlhf.trainer.ppo_trainer_async",
        "TrainingActor",
        "pepo_rlhf.controller.trainer_async:TrainingActor",
        "writes no metrics file",
    ),
    *(
        Rebinding(
            module,
            "merge_mm_train_inputs",
            "pepo_rlhf.workers.image_tensors:merge_image_tensors",
            "carries a copy of the image tensors in every sample",
        )
        for module in ("openrlhf.utils.vlm_utils", "openrlhf.trainer.ray.ppo_actor")
    ),
    *(
        Rebinding(module, "tqdm", "pepo_rlhf.metrics.run_log:no_progress_bar", "draws a bar for each micro-batch loop")
        for module in (
            "openrlhf.trainer.ray.launcher",
            "openrlhf.trainer.ray.ppo_actor",
            "openrlhf.trainer.ppo_trainer",
            "openrlhf.trainer.ppo_trainer_async",
        )
    ),
)


def apply(rebindings: tuple[Rebinding, ...] = REBINDINGS) -> None:
    """Rebinds the list in this interpreter. Every Ray actor of a run calls it first, on every device."""
    for module, name, replacement, _ in rebindings:
        module_name, attribute = replacement.split(":")
        setattr(importlib.import_module(module), name, getattr(importlib.import_module(module_name), attribute))

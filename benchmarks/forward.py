"""The policy's experience forward and its update, response-only and chunked, against OpenRLHF's own Actor.

On a CPU the model is a Qwen2.5-VL of 8 layers with the real vocabulary, in float32; on a GPU it has the shapes of
Qwen2.5-VL-3B, in bfloat16, and examples/gpu.yaml's micro-batch. Weights are random, attention is sdpa, the vision
encoder is frozen, as the recipes train.
"""

from __future__ import annotations

import torch
from openrlhf.models import Actor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.measure import DEVICE, compare_with_memory
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.workers.model import VisionLanguageActor

BATCH, PROMPT, RESPONSE = (4, 500, 1000) if DEVICE == "cuda" else (2, 600, 400)
VISUAL, VOCABULARY = 400, 151_936
CPU_SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
GPU_SHAPE = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16}


def build_model() -> Qwen2_5_VLForConditionalGeneration:
    shape = GPU_SHAPE if DEVICE == "cuda" else CPU_SHAPE
    pairs = shape["hidden_size"] // shape["num_attention_heads"] // 2  # of rotary dimensions
    sections = [pairs - 2 * (pairs * 3 // 8), pairs * 3 // 8, pairs * 3 // 8]
    config = Qwen2_5_VLConfig(
        text_config=shape
        | {
            "vocab_size": VOCABULARY,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
        },
        vision_config={
            "depth": 32 if DEVICE == "cuda" else 2,
            "hidden_size": 1280 if DEVICE == "cuda" else 128,
            "intermediate_size": 3420 if DEVICE == "cuda" else 256,
            "num_heads": 16 if DEVICE == "cuda" else 4,
            "out_hidden_size": shape["hidden_size"],
        },
        tie_word_embeddings=True,
    )
    dtype = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    with torch.device(DEVICE):
        model = Qwen2_5_VLForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    model.model.visual.requires_grad_(False)
    return model


def build_batch(model) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """(sequences, action mask, attention mask) and the image tensors of two prompts with an image each."""
    sequences = torch.randint(0, 150_000, (BATCH, PROMPT + RESPONSE), device=DEVICE)
    sequences[:, 20 : 20 + VISUAL] = model.config.image_token_id
    action_mask = torch.zeros(BATCH, PROMPT + RESPONSE - 1, dtype=torch.long, device=DEVICE)
    action_mask[:, PROMPT - 1 :] = 1
    images = {
        "pixel_values": torch.randn(BATCH * 4 * VISUAL, 1176, device=DEVICE, dtype=model.dtype),
        "image_grid_thw": torch.tensor([[1, 40, 40]] * BATCH, device=DEVICE),
    }
    return (sequences, action_mask, torch.ones_like(sequences)), images


def run(rounds: int) -> list[dict]:
    torch.manual_seed(0)
    model = build_model()
    batch, images = build_batch(model)
    stock, ours = Actor(model), VisionLanguageActor(model)
    for actor in (stock, ours):
        actor.is_vlm, actor._vlm_config, actor.packing_samples = True, model.config, False
    vision_mask = batch[0] == model.config.image_token_id
    images_of = {stock: images, ours: images | {"image_index": torch.arange(BATCH, device=DEVICE)}}

    @torch.no_grad()
    def experience(actor, **flags):
        return actor(*batch, **images_of[actor], return_output=True, **flags)[0]

    def experience_with_scores():
        similarity = VisualSimilarity(vision_mask, response_mask=torch.nn.functional.pad(batch[1], (1, 0)))
        return ours.score(*batch, similarity, **images_of[ours]).action_log_probs

    def update(actor):
        model.zero_grad(set_to_none=False)
        (actor(*batch, **images_of[actor]) * batch[1]).sum().backward()

    def checkpointed_update(actor):
        model.train()  # else transformers keeps everything
        actor.gradient_checkpointing_enable()
        update(actor)
        actor.gradient_checkpointing_disable()
        model.disable_input_require_grads()  # which would stay
        model.eval()

    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight)  # there before memory is measured
    comparisons = {
        "experience forward": {
            "stock, without entropy": lambda: experience(stock),
            "stock, with entropy": lambda: experience(stock, return_entropy=True),
            "ours, with entropy and similarity": experience_with_scores,
        },
        "update forward and backward": {"stock": lambda: update(stock), "ours": lambda: update(ours)},
        "update with gradient checkpointing": {
            "stock": lambda: checkpointed_update(stock),
            "ours": lambda: checkpointed_update(ours),
        },
    }

    def check() -> None:
        torch.testing.assert_close(
            experience_with_scores(), experience(stock), rtol=1e-4, atol=1e-4 if DEVICE == "cpu" else 0.05
        )

    memory_base = dict.fromkeys(comparisons, "stock") | {"experience forward": "stock, with entropy"}
    return compare_with_memory(comparisons, check, rounds, memory_base)

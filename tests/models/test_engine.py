"""vLLM and the policy give the same log-probs: at first, and after reloads of changed language and vision weights."""

import gc

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import AutoProcessor
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

from pepo_rlhf.compat import cpu
from pepo_rlhf.config import Config
from pepo_rlhf.controller.placement import engine_arguments
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.vision_tokens import collapse_images, vision_token_ids
from pepo_rlhf.toy import tiny_vlm
from pepo_rlhf.weight_sync.weights import PolicyWeights
from pepo_rlhf.workers.image_tensors import merge_image_tensors
from pepo_rlhf.workers.model import VisionLanguageActor

pytestmark = pytest.mark.full
# docs/models.md says why the others are not among them.
FAMILIES = (
    *("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    *("internvl3", "internvl3_5", "glm4_6v", "mistral3"),
)
SIZES = [(60, 90)], [(100, 64), (150, 70)]  # images of two prompts


@pytest.fixture
def folder(request, build_family, tmp_path):
    tiny_vlm.save(tmp_path / "model", *build_family(request.param))
    return tmp_path / "model"


@pytest.fixture
def actor(folder):
    return VisionLanguageActor(str(folder), param_dtype=dtype_of(folder))


def dtype_of(folder):
    """Float32, but for the linear attention of Qwen3.5, for which vLLM has no such kernels on a CPU."""
    return "bf16" if "qwen3_5" in (folder / "config.json").read_text() else "fp32"


@pytest.fixture
def engine(folder):
    """vLLM as a rollout worker starts it, in this process."""
    config = Config()
    config.actor.model_name_or_path, config.vllm.enforce_eager = str(folder), True
    config.data.max_len, config.data.max_images_per_prompt = 512, 2
    config.ds.param_dtype = dtype_of(folder)
    config.vllm.enable_prefix_caching = config.ds.param_dtype == "fp32"  # see docs/models.md
    arguments = engine_arguments(config) | cpu.engine_arguments()
    del arguments["full_determinism"]  # which OpenRLHF reads
    # Log-probs before the bias against placeholders, which the policy has too.
    made = LLM(**arguments | {"logprobs_mode": "raw_logprobs"})
    yield made
    made.llm_engine.engine_core.shutdown()
    del made
    gc.collect()
    cleanup_dist_env_and_memory()


@pytest.fixture
def prompts(folder):
    """For each: pictures, tokens as the trainer has them and as the engine is given them, and image tensors."""
    processor = AutoProcessor.from_pretrained(folder)
    made = []
    for sizes in SIZES:
        pictures = [Image.new("RGB", size, "white") for size in sizes]
        for number, picture in enumerate(pictures):
            ImageDraw.Draw(picture).ellipse([5, 5, 30 + 20 * number, 50], fill="blue")
        row = Row(IMAGE_PLACEHOLDER * len(sizes) + "How many?", ("image",) * len(sizes), "", "", "")
        ids, tensors = encode_prompt(processor, render_prompt(processor, row), pictures, {})
        made.append((pictures, ids, collapse_images(ids, processor), tensors))
    return made


@pytest.fixture
def params(folder):
    """As rollouts sample: never a placeholder of images, which the trainer would take for one."""
    placeholders = vision_token_ids(AutoProcessor.from_pretrained(folder))
    bias = {token: -100.0 for token in placeholders}
    return SamplingParams(temperature=1.0, max_tokens=24, logprobs=0, seed=0, logit_bias=bias)


def gap(actor, engine, prompts, params):
    """Mean |engine - policy| log-prob of sampled tokens, in nats."""
    asked = [{"prompt_token_ids": ids, "multi_modal_data": {"image": pics}} for pics, _, ids, _ in prompts]
    gaps = []
    for output, (_, ids, _, tensors) in zip(engine.generate(asked, params, use_tqdm=False), prompts, strict=True):
        assert output.prompt_token_ids == ids
        tokens, steps = list(output.outputs[0].token_ids), output.outputs[0].logprobs
        sampled = torch.tensor([step[token].logprob for token, step in zip(tokens, steps, strict=True)])
        sequences = torch.tensor([ids + tokens])
        action_mask = torch.zeros(1, sequences.shape[1] - 1, dtype=torch.long)
        action_mask[:, len(ids) - 1 :] = 1
        images = merge_image_tensors([tensors], "cpu")
        scores = actor.score(sequences, action_mask, torch.ones_like(sequences), None, **images)
        gaps.append((scores.action_log_probs[0, len(ids) - 1 :] - sampled).abs())
    return torch.cat(gaps).mean().item()


def disturb(model, language):
    """Change every matrix of the language model, or every one of vision tower and projector."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and language == ("language_model" in name or "lm_head" in name):
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.5 * weight.float().std())


def reload(model, engine, path):
    """Send the weights as the file transport and the receiver do."""
    weights = {name: tensor.clone() for name, tensor in PolicyWeights(model, zero_stage=2)}
    save_file(weights, path)
    engine.collective_rpc("forget_received_weights")
    engine.collective_rpc("reload_from_file", args=(str(path),))
    assert set(engine.collective_rpc("received_weights")[0]) == set(weights)
    assert engine.reset_prefix_cache()
    engine.llm_engine.reset_mm_cache()
    engine.llm_engine.reset_encoder_cache()


@pytest.mark.parametrize("folder", FAMILIES, indirect=True)
def test_log_probs_agree_after_a_sync_of_language_and_vision_weights(actor, engine, prompts, params, tmp_path):
    gaps = [gap(actor, engine, prompts, params)]
    for language in (True, False):
        disturb(actor.model, language)
        gaps.append(gap(actor, engine, prompts, params))
        reload(actor.model, engine, tmp_path / "weights.safetensors")
        gaps.append(gap(actor, engine, prompts, params))
    print("gaps before, with old and new language weights, with old and new vision weights:", gaps)
    before, old_language, new_language, old_vision, new_vision = gaps
    assert max(before, new_language, new_vision) < (1e-4 if actor.model.dtype == torch.float32 else 0.1)
    assert min(old_language, old_vision) > 3 * max(before, new_language, new_vision), "the change must show at first"

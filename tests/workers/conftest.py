"""Tiny random models of every kind that is meant to work, each with a batch."""

import pytest
import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from pepo_rlhf.config import Config
from pepo_rlhf.data.perturbations import Perturbation, perturb
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl
from pepo_rlhf.workers.micro_batch import MicroBatch
from pepo_rlhf.workers.model import VisionLanguageActor
from pepo_rlhf.workers.policy import PolicyWorker

TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
IMAGE = 60
QWEN_TOKENS = {"image_token_id": IMAGE, "video_token_id": 61, "vision_start_token_id": 62, "vision_end_token_id": 63}
QWEN_VISION = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}


def qwen2():
    return Qwen2ForCausalLM(Qwen2Config(**TEXT)), {}


def qwen2_5_vl():
    config = Qwen2_5_VLConfig(
        text_config=TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}},
        vision_config=QWEN_VISION | {"fullatt_block_indexes": [1]},
        **QWEN_TOKENS,
    )
    # Two images of 4 x 4 patches: 4 visual tokens each after the 2 x 2 merge.
    images = {"pixel_values": torch.randn(32, 1176), "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]])}
    return Qwen2_5_VLForConditionalGeneration(config), images


def qwen3_vl():
    """Features of its first vision layer are added to those of its first decoder layer (deepstack)."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    config = Qwen3VLConfig(
        text_config=TEXT | {"head_dim": 8, "rope_parameters": rope},
        vision_config=QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    images = {"pixel_values": torch.randn(32, 1536), "image_grid_thw": torch.tensor([[1, 4, 4], [1, 4, 4]])}
    return Qwen3VLForConditionalGeneration(config), images


def qwen3_vl_moe():
    """Experts of each layer are weights of three dimensions."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
    config = Qwen3VLMoeConfig(
        text_config=TEXT | experts | {"head_dim": 8, "rope_parameters": rope},
        vision_config=QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    )
    return Qwen3VLMoeForConditionalGeneration(config), {}


def internvl():
    config = InternVLConfig(
        text_config=TEXT | {"model_type": "qwen2"},
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [8, 8],
            "patch_size": [2, 2],
        },
        image_token_id=IMAGE,
        downsample_ratio=0.5,
    )
    # 16 patches, 4 tokens an image after pixel shuffle.
    return InternVLForConditionalGeneration(config), {"pixel_values": torch.randn(2, 3, 8, 8)}


@pytest.fixture(params=[qwen2_5_vl, qwen3_vl, internvl], ids=lambda build: build.__name__)
def vision_case(request):
    """(model, tensors of two images)."""
    torch.manual_seed(0)
    model, images = request.param()
    return model.eval(), images


@pytest.fixture
def build():
    """Builds the model of a kind, by name."""
    kinds = {kind.__name__: kind for kind in (qwen2_5_vl, qwen3_vl_moe, internvl)}
    return lambda name: kinds[name]()[0]


@pytest.fixture(params=[qwen2, qwen2_5_vl, qwen3_vl, internvl], ids=lambda build: build.__name__)
def case(request):
    """(model, inputs of [2, 12] tokens, vision mask)."""
    torch.manual_seed(0)
    model, images = request.param()
    sequences = torch.randint(0, 50, (2, 12))
    sequences[:, 2:6] = IMAGE if images else 7
    if "image_grid_thw" in images:
        images["mm_token_type_ids"] = (sequences == IMAGE).int()
    mask = torch.zeros(2, 12, dtype=torch.bool)
    mask[:, 2:6] = True
    return model.eval(), {"input_ids": sequences, **images}, mask


PROMPT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Find x.<|im_end|>\n"


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("models") / "tiny")
    worker = object.__new__(PolicyWorker)
    worker.config, worker.tokenizer = Config(), AutoProcessor.from_pretrained(folder)
    worker.actor = VisionLanguageActor(str(folder), param_dtype="fp32")
    worker.image_token_ids = vision_token_ids(worker.tokenizer)
    return worker


@pytest.fixture(scope="module")
def micro_batch(worker):
    """Two rows that share an image, and one without; the perturbed image is another one's."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (112, 84, 3), generator=generator, dtype=torch.uint8).numpy()
    picture = Image.fromarray(pixels)
    prompt, images = encode_prompt(worker.tokenizer, PROMPT, [picture], {})
    _, perturbed = encode_prompt(worker.tokenizer, PROMPT, perturb([picture], Perturbation("blank")), {})
    plain, _ = encode_prompt(
        worker.tokenizer, PROMPT.replace("<|vision_start|><|image_pad|><|vision_end|>", ""), [], {}
    )
    rows = [torch.tensor([*start, *range(20, 20 + length)]) for start, length in ((prompt, 5), (prompt, 3), (plain, 4))]
    sequences = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    attention_mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    action_mask = attention_mask.clone()
    for row, start in enumerate((prompt, prompt, plain)):
        action_mask[row, : len(start)] = 0
    return MicroBatch(
        sequences, action_mask[:, 1:], attention_mask, [images, images, None], [perturbed, perturbed, None]
    )

"""A tiny random model of each family, and its processor, made without the network.

No matrix of an expert is square, which would hide a transposition, and heads have 32 dimensions: vLLM's attention on a
CPU knows no smaller ones.
"""

import pytest
import torch
import transformers

from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.toy import tiny_vlm
from pepo_rlhf.toy.tokenizer import train_tokenizer

TEXT = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.09,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 96}
EXPERTS |= {"norm_topk_prob": True}  # which vLLM reads; transformers does so in any case
LINEAR = {  # of Qwen3.5: two of three layers attend linearly
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
QWEN3_VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_heads": 2,
    "out_hidden_size": 128,
    "num_position_embeddings": 64,
    "initializer_range": 0.09,
}
SIGLIP = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.09,
}


def ends(tokenizer):
    return {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


def tokenizer_with(path, placeholder, **names):
    """The tiny tokenizer with special tokens of these names, and a template that writes `placeholder` for an image."""
    trained = train_tokenizer(["How many? <think> one two </think> <answer> 3 </answer>"])
    trained.save_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, extra_special_tokens=names)
    template = trained.chat_template.replace("<|vision_start|><|image_pad|><|vision_end|>", placeholder)
    return tokenizer, template


def qwen2_5_vl(path):
    processor = tiny_vlm.build_processor()
    return transformers.Qwen2_5_VLForConditionalGeneration(tiny_vlm.build_config(processor.tokenizer)), processor


def qwen3_processor():
    """Patches of 16; an image makes 4 to 16 tokens."""
    tokenizer = tiny_vlm.build_processor().tokenizer
    return transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(min_pixels=64 * 64, max_pixels=128 * 128, patch_size=16),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(),
        chat_template=tokenizer.chat_template,
    )


def qwen3(config_class, model_class, architecture, text, vision, rope):
    processor = qwen3_processor()
    ids = processor.tokenizer.get_vocab()
    config = config_class(
        text_config=TEXT
        | ends(processor.tokenizer)
        | text
        | {
            # vLLM 0.29 asks for it on a CPU, where the configuration of a published model has none.
            "architectures": [architecture],
            "vocab_size": len(processor.tokenizer),
            "head_dim": 32,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6} | rope,
        },
        vision_config=QWEN3_VISION | vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return model_class(config), processor


def qwen3_vl(path):
    """Features of an early vision layer are added to the first decoder layer (deepstack)."""
    deepstack, rope = {"deepstack_visual_indexes": [0]}, {"mrope_section": [8, 4, 4], "mrope_interleaved": True}
    names = transformers.Qwen3VLConfig, transformers.Qwen3VLForConditionalGeneration, "Qwen3ForCausalLM"
    return qwen3(*names, {}, deepstack, rope)


def qwen3_vl_moe(path):
    deepstack, rope = {"deepstack_visual_indexes": [0]}, {"mrope_section": [8, 4, 4], "mrope_interleaved": True}
    names = transformers.Qwen3VLMoeConfig, transformers.Qwen3VLMoeForConditionalGeneration, "Qwen3MoeForCausalLM"
    return qwen3(*names, EXPERTS, deepstack, rope)


QWEN3_5_ROPE = {"mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.25}


def qwen3_5(path):
    names = transformers.Qwen3_5Config, transformers.Qwen3_5ForConditionalGeneration, "Qwen3_5ForCausalLM"
    return qwen3(*names, LINEAR, {}, QWEN3_5_ROPE)


def qwen3_5_moe(path):
    names = transformers.Qwen3_5MoeConfig, transformers.Qwen3_5MoeForConditionalGeneration, "Qwen3_5MoeForCausalLM"
    return qwen3(*names, LINEAR | EXPERTS | {"shared_expert_intermediate_size": 96}, {}, QWEN3_5_ROPE)


def internvl(path, **text):
    """InternVL in Hugging Face format: tiles of 56 pixels, 4 tokens each."""
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer, template = tokenizer_with(path, "<IMG_CONTEXT>", video_token="<video>", **names)
    processor = transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(
            size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
        ),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size={"height": 56, "width": 56}),
        image_seq_length=4,
        chat_template=template,
    )
    config = transformers.InternVLConfig(
        text_config=TEXT | ends(tokenizer) | {"vocab_size": len(tokenizer)} | text,
        vision_config=SIGLIP | {"image_size": [56, 56], "patch_size": [14, 14]},
        tie_word_embeddings=False,
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    return transformers.InternVLForConditionalGeneration(config), processor


def internvl3(path):
    return internvl(path, model_type="qwen2")


def internvl3_5(path):
    return internvl(path, model_type="qwen3", head_dim=32)


def gemma3(path):
    """16 tokens an image, which see each other in both directions; one layer attends in a window."""
    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer, template = tokenizer_with(path, "<start_of_image>", **names)
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=template,
    )
    config = transformers.Gemma3Config(
        text_config=TEXT
        | ends(tokenizer)
        | {
            "vocab_size": len(tokenizer),
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        vision_config=SIGLIP | {"image_size": 56, "patch_size": 14},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor


def gemma4(path):
    """Caps its logits, and of three layers the last shares keys and values of an earlier one."""
    names = {"boi_token": "<|image>", "eoi_token": "<image|>", "image_token": "<|image|>"}
    names |= {"boa_token": "<|audio>", "eoa_token": "<audio|>", "audio_token": "<|audio|>"}
    tokenizer, template = tokenizer_with(path, "<|image|>", **names)
    processor = transformers.Gemma4Processor(
        feature_extractor=transformers.Gemma4AudioFeatureExtractor(),
        image_processor=transformers.Gemma4ImageProcessor(max_soft_tokens=70),
        tokenizer=tokenizer,
        video_processor=transformers.Gemma4VideoProcessor(),
        chat_template=template,
    )
    config = transformers.Gemma4Config(
        text_config=TEXT
        | ends(tokenizer)
        | {
            "vocab_size": len(tokenizer),
            "vocab_size_per_layer_input": len(tokenizer),
            "hidden_size_per_layer_input": 16,
            "head_dim": 32,
            "global_head_dim": 64,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "final_logit_softcapping": 1.0,  # logits of a random model are around 1, those of a real one around 30
        },
        vision_config=SIGLIP | {"num_key_value_heads": 2, "head_dim": 32, "position_embedding_size": 256},
        audio_config=None,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        image_token_id=tokenizer.image_token_id,
        video_token_id=processor.video_token_id,
        boa_token_id=tokenizer.boa_token_id,
        eoa_token_index=tokenizer.eoa_token_id,
        audio_token_id=tokenizer.audio_token_id,
        tie_word_embeddings=False,
    )
    return transformers.Gemma4ForConditionalGeneration(config), processor


def lfm2_vl(path):
    """Its decoder calls its last norm `embedding_norm`; two of three layers are convolutions over tokens."""
    names = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>"}
    tokenizer, template = tokenizer_with(path, "<image>", image_thumbnail_token="<|img_thumbnail|>", **names)
    processor = transformers.Lfm2VlProcessor(
        image_processor=transformers.Lfm2VlImageProcessor(
            do_image_splitting=False, min_image_tokens=4, max_image_tokens=16, encoder_patch_size=16
        ),
        tokenizer=tokenizer,
        chat_template=template,
    )
    config = transformers.Lfm2VlConfig(
        text_config=TEXT
        | ends(tokenizer)
        | {
            "model_type": "lfm2",
            "vocab_size": len(tokenizer),
            "block_auto_adjust_ff_dim": False,
            "layer_types": ["conv", "full_attention", "conv"],
        },
        vision_config={"model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 64} | SIGLIP,
        image_token_id=tokenizer.image_token_id,
        projector_hidden_size=96,
        tie_word_embeddings=False,
    )
    return transformers.Lfm2VlForConditionalGeneration(config), processor


def glm4_6v(path):
    """GLM-4.6V-Flash: the model of GLM-4.1V with a processor of its own."""
    edges = {"image_start": "<|begin_of_image|>", "image_end": "<|end_of_image|>"}
    edges |= {"video_start": "<|begin_of_video|>", "video_end": "<|end_of_video|>"}
    names = {"image_token": "<|image|>", "video_token": "<|video|>"} | edges
    tokenizer, template = tokenizer_with(path, "<|begin_of_image|><|image|><|end_of_image|>", **names)
    size = {"shortest_edge": 2 * 56 * 56, "longest_edge": 2 * 112 * 112}  # of two frames, as videos have
    processor = transformers.Glm46VProcessor(
        image_processor=transformers.Glm46VImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=transformers.Glm46VVideoProcessor(size=size),
        chat_template=template,
    )
    ids = tokenizer.get_vocab()
    config = transformers.Glm4vConfig(
        text_config=TEXT
        | ends(tokenizer)
        | {
            "architectures": ["Glm4ForCausalLM"],
            "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
            | {"partial_rotary_factor": 0.5},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": 128,
            "image_size": 112,
            "initializer_range": 0.09,
        },
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        **{f"{edge}_token_id": ids[token] for edge, token in edges.items()},
    )
    return transformers.Glm4vForConditionalGeneration(config), processor


def mistral3(path):
    """A row of an image's tokens ends with one of its own; the processor pads the images of a prompt to one size."""
    names = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    tokenizer, template = tokenizer_with(path, "[IMG]", **names)
    processor = transformers.PixtralProcessor(
        image_processor=transformers.PixtralImageProcessor(patch_size=14, size={"longest_edge": 112}),
        tokenizer=tokenizer,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=template,
    )
    config = transformers.Mistral3Config(
        text_config=TEXT
        | ends(tokenizer)
        | {"model_type": "mistral", "vocab_size": len(tokenizer), "head_dim": 32, "sliding_window": None},
        vision_config=SIGLIP | {"model_type": "pixtral", "image_size": 112, "patch_size": 14},
        image_token_index=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    return transformers.Mistral3ForConditionalGeneration(config), processor


FAMILIES = {
    build.__name__: build
    for build in (
        *(qwen2_5_vl, qwen3_vl, qwen3_vl_moe, qwen3_5, qwen3_5_moe),
        *(internvl3, internvl3_5, gemma3, gemma4, glm4_6v, mistral3, lfm2_vl),
    )
}


@pytest.fixture
def build_family(tmp_path):
    """Makes (model, processor) of a family, by its name."""

    def build(name, seed=0):
        torch.manual_seed(seed)
        model, processor = FAMILIES[name](tmp_path)
        # Engines never sample a placeholder of images, and give the others' log-probs without it: by as much as it is
        # likely they differ from the policy's, which a trained model makes nothing of.
        with torch.no_grad():
            model.get_output_embeddings().weight[list(vision_token_ids(processor))] = 0.0
        return model, processor

    return build

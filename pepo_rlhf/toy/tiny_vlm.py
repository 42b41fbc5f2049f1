"""A random Qwen2.5-VL of about one million parameters, as an ordinary Hugging Face folder.

It rehearses on a CPU what the real models do on GPUs: the same architecture, classes and files, every dimension shrunk.
transformers loads its classes where they are named, so this module can be imported before the runtime is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
import transformers

from pepo_rlhf import compat
from pepo_rlhf.config.ranges import SEED, argument
from pepo_rlhf.toy import counting
from pepo_rlhf.toy.tokenizer import train_tokenizer

# One visual token is 28 x 28 pixels (patches of 14, merged 2 x 2): an image makes 4 to 16 of them.
MIN_PIXELS, MAX_PIXELS = 56 * 56, 112 * 112
HIDDEN, HEADS, KEY_VALUE_HEADS = 128, 4, 2
# 1 / sqrt(HIDDEN). Qwen's 0.02 suits widths of thousands; at this width it doubles the steps until the model counts.
INITIALIZER_RANGE = 0.09
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS = 64, 2, 4


def build_tiny_qwen2_5_vl(path: Path, seed: int = 0, task: ModuleType = counting) -> Path:
    """Write model, tokenizer and processor to the folder `path`, and return it; the weights depend on `seed` alone.

    The tokenizer knows the words of `task`, a module of this package with `generate` and `demonstration`.
    """
    processor = build_processor(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.Qwen2_5_VLForConditionalGeneration(build_config(processor.tokenizer))
    save(path, model, processor)
    return path


def build_processor(task: ModuleType = counting) -> transformers.Qwen2_5_VLProcessor:
    tokenizer = train_tokenizer(_texts(task))
    limits = {"min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS}
    return transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**limits),
        tokenizer=tokenizer,
        video_processor=transformers.models.qwen2_vl.Qwen2VLVideoProcessor(**limits),
        chat_template=tokenizer.chat_template,
    )


def _texts(task: ModuleType) -> Iterator[str]:
    """Yield prompts and responses of a task, so that each of their words becomes one token."""
    yield from ("system", "user", "assistant")
    for row in task.generate(500, seed=0):
        for message in row.messages:
            yield from (part["text"] for part in message["content"] if part["type"] == "text")
        yield task.demonstration(row)


def build_config(tokenizer: transformers.Qwen2Tokenizer) -> transformers.Qwen2_5_VLConfig:
    token_id = tokenizer.get_vocab()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "initializer_range": INITIALIZER_RANGE,
        "max_position_embeddings": 2048,
        # Sections for time, height and width; they share out half of a head's dimensions in Qwen's proportion 2:3:3.
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
        "bos_token_id": token_id["<|endoftext|>"],
        "eos_token_id": token_id["<|im_end|>"],
        "pad_token_id": token_id["<|endoftext|>"],
    }
    vision = {
        "depth": VISION_LAYERS,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": 2 * VISION_HIDDEN,
        "num_heads": VISION_HEADS,
        "out_hidden_size": HIDDEN,
        "initializer_range": INITIALIZER_RANGE,
        # As in the real model most layers attend in windows and the last one to the whole image.
        "fullatt_block_indexes": [VISION_LAYERS - 1],
        "window_size": 112,
    }
    return transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_id["<|image_pad|>"],
        video_token_id=token_id["<|video_pad|>"],
        vision_start_token_id=token_id["<|vision_start|>"],
        vision_end_token_id=token_id["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def save(
    path: Path, model: transformers.Qwen2_5_VLForConditionalGeneration, processor: transformers.Qwen2_5_VLProcessor
) -> None:
    """Write a complete Hugging Face folder, the weights in bfloat16, as Qwen publishes them and engines run them."""
    model.bfloat16().save_pretrained(path)
    processor.save_pretrained(path)


def main() -> None:
    compat.install()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=argument(int, SEED), default=0, help="seed of the weights")
    arguments = parser.parse_args()
    print(f"wrote {build_tiny_qwen2_5_vl(arguments.output, arguments.seed)}")


if __name__ == "__main__":
    main()

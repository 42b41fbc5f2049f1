"""Write a Qwen2.5-VL with random weights and the shapes of the 3B model, and rows with images of a real size."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from pepo_rlhf import compat

compat.install()

import torch  # noqa: E402  (prepared first)
import transformers  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from pepo_rlhf.toy import tiny_vlm  # noqa: E402

SIDE = 448  # pixels: 256 tokens an image
TEXT: dict[str, Any] = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36}
TEXT |= {"num_attention_heads": 16, "num_key_value_heads": 2, "vocab_size": 151_936, "max_position_embeddings": 32768}
TEXT |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}}
# Settings of a run that has one GPU for policy, reference and engine; SHARED is the placement alone.
SHARED: dict[str, Any] = {"actor.num_gpus_per_node": 1, "ref.num_gpus_per_node": 1, "vllm.num_engines": 1}
SHARED |= {"train.colocate_all": True, "train.colocate_actor_ref": False, "vllm.enable_sleep": True}
SHARED |= {"ds.enable_sleep": True, "ds.param_dtype": "bf16"}
LARGE = SHARED | {"vllm.gpu_memory_utilization": 0.25, "vllm.enforce_eager": False, "ds.attn_implementation": "sdpa"}
LARGE |= {"rollout.batch_size": 8, "rollout.max_new_tokens": 512, "rollout.micro_batch_size": 4, "data.max_len": 1024}
LARGE |= {"train.batch_size": 64, "train.micro_batch_size": 4, "actor.gradient_checkpointing_enable": True}
LARGE |= {"actor.adam.lr": 1e-6, "reward.functions": "[benchmarks/hash_reward.py:hash_reward]"}
LARGE |= {"run.vision_check": False, "logger.tokens_every": 0}
VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 2048}
VISION |= {"fullatt_block_indexes": [7, 15, 23, 31]}


def write_model(folder: Path) -> None:
    """Write the model in bfloat16, 7.5 GB, made on the GPU if there is one."""
    tiny_vlm.MIN_PIXELS = tiny_vlm.MAX_PIXELS = SIDE * SIDE
    processor = tiny_vlm.build_processor()
    config = tiny_vlm.build_config(processor.tokenizer).to_dict()
    config["text_config"].pop("layer_types", None)
    config["text_config"] |= TEXT
    config["vision_config"] |= VISION
    config["tie_word_embeddings"] = True
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig.from_dict(config))
    tiny_vlm.save(folder, model.cpu(), processor)


def write_rows(folder: Path, num_rows: int) -> None:
    """Write FOLDER/train.jsonl with problems about drawn polygons."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    with (folder / "train.jsonl").open("w") as file:
        for number in range(num_rows):
            image = Image.new("RGB", (SIDE, SIDE), "white")
            corners = [(draw.randrange(SIDE), draw.randrange(SIDE)) for _ in range(4)]
            ImageDraw.Draw(image).polygon(corners, outline="black")
            image.save(folder / f"{number}.png")
            row = {"problem": "Find x.", "images": [f"{number}.png"], "answer": str(number)}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))

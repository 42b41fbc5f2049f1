"""Every architecture that is meant to work, tiny and random, through two steps of the main job."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image, ImageDraw

from pepo_rlhf.toy import tiny_vlm
from pepo_rlhf.toy.tokenizer import train_tokenizer

CONFIG = Path(__file__).parents[2] / "examples" / "geometry3k_cpu.yaml"
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,  # of 32: vLLM's attention on a CPU knows no smaller ones
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def build_qwen2_5_vl(path):
    tiny_vlm.build_tiny_qwen2_5_vl(path)


def build_qwen3_vl(path):
    """Patches of 16; features of an early vision layer are added to the first decoder layer (deepstack)."""
    processor = tiny_vlm.build_processor()
    tokenizer = processor.tokenizer
    limits = {"min_pixels": 64 * 64, "max_pixels": 128 * 128, "patch_size": 16}
    processor = transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**limits),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(),
        chat_template=tokenizer.chat_template,
    )
    ids = tokenizer.get_vocab()
    config = transformers.Qwen3VLConfig(
        text_config=TEXT
        | {
            # vLLM 0.29 asks for it on a CPU, where the configuration of a published model has none.
            "architectures": ["Qwen3ForCausalLM"],
            "vocab_size": len(tokenizer),
            "head_dim": 32,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 4, 4]},
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 128,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    tiny_vlm.save(path, transformers.Qwen3VLForConditionalGeneration(config), processor)


def build_internvl(path):
    """InternVL3 in Hugging Face format: tiles of 56 pixels, 4 tokens each."""
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    trained = train_tokenizer(["How many? <think> one two </think> <answer> 3 </answer>"])
    trained.save_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, extra_special_tokens=names)
    template = trained.chat_template.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>")
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
        text_config=TEXT
        | {
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
        },
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": [56, 56],
            "patch_size": [14, 14],
        },
        tie_word_embeddings=False,
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    tiny_vlm.save(path, transformers.InternVLForConditionalGeneration(config), processor)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Eight problems, every second one with two images; no two images have the same size."""
    folder = tmp_path_factory.mktemp("rows")
    draw = random.Random(0)
    with (folder / "train.jsonl").open("w") as file:
        for index in range(8):
            names = [f"{index}_{number}.png" for number in range(1 + index % 2)]
            for number, name in enumerate(names):
                image = Image.new("RGB", (60 + 17 * index + 5 * number, 60 + draw.randint(0, 100)), "white")
                ImageDraw.Draw(image).ellipse([5, 5, 20 + 8 * index, 50], fill="blue")
                image.save(folder / name)
            problem = "<image>" * len(names) + "How many?"
            file.write(json.dumps({"images": names, "problem": problem, "answer": str(index)}) + "\n")
    return folder / "train.jsonl"


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "all trained"])
@pytest.mark.parametrize("build", [build_qwen2_5_vl, build_qwen3_vl, build_internvl], ids=lambda f: f.__name__[6:])
def test_two_steps(build, freeze, rows, tmp_path):
    torch.manual_seed(0)
    build(tmp_path / "model")
    reward = tmp_path / "letters.py"  # so that groups of a random model have a spread
    reward.write_text("def letters(response, label):\n    return len(set(response)) / 100\n")
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(CONFIG), "--run.dir", str(tmp_path / "run")]
    command += ["--actor.model_name_or_path", str(tmp_path / "model"), "--data.prompt_dataset", str(rows)]
    command += ["--data.max_images_per_prompt", "2", "--rollout.batch_size", "4", "--train.batch_size", "16"]
    command += ["--actor.freeze_visual_encoder", str(freeze).lower(), "--train.colocate_actor_ref"]
    command += ["--reward.functions", f"[format, accuracy, '{reward}:letters']", "--pepo.temperature", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "vision check: passed" in done.stdout
    steps = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [step["global_step"] for step in steps] == [1, 2]
    for step in steps:
        assert step["similarity_min"] < step["similarity_max"]
        assert step["weight_min"] < 1 < step["weight_max"]
        assert step["rollout_trainer_gap"] < 0.03
        assert step["actor_grad_norm"] > 0
        assert (step["prompts_repeated"], step["prompts_lost"]) == (0, 0)
    load = transformers.AutoModelForImageTextToText.from_pretrained
    before, after = (load(path).state_dict() for path in (tmp_path / "model", tmp_path / "run" / "model"))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("language_model" in name for name in changed)
    vision = [name for name in changed if "language_model" not in name and "lm_head" not in name]
    assert bool(vision) != freeze, vision

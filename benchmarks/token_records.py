"""What writing token records costs, beside a lower bound of the step that it belongs to.

    python benchmarks/token_records.py [--model FOLDER] [--repeats 5]

A batch of 16 prompts x 8 samples x 256 tokens. The lower bound is the policy's and the reference's no-grad forward and
the policy's forward and backward pass over the responses: no generation, image, logit processing, weight sync or Ray.
Without --model it is the sandbox's tiny model of about a million parameters: any other makes the ratios smaller.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from pepo_rlhf import compat

compat.install()

from openrlhf.trainer.ppo_utils.experience import Experience  # noqa: E402
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402

from pepo_rlhf.config import Config, to_arguments  # noqa: E402
from pepo_rlhf.metrics.token_recorder import TokenRecorder  # noqa: E402
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl  # noqa: E402

PROMPTS, SAMPLES, TOKENS, PROMPT_TOKENS, MICRO_BATCH, SIDE = 16, 8, 256, 64, 8, 512
SCORES = ("log_prob", "entropy", "similarity", "weight", "advantage_before", "advantage", "rollout_log_prob")


def make_batch(token_ids: torch.Tensor) -> tuple[list[Experience], list[list[str]], dict[str, list[torch.Tensor]]]:
    """Experiences of random ones of these tokens, a group a micro-batch, each with an image of noise: the slowest."""
    width = PROMPT_TOKENS + TOKENS - 1
    mask = (torch.arange(width) >= PROMPT_TOKENS - 1).repeat(MICRO_BATCH, 1)
    tokens: dict[str, list[torch.Tensor]] = {name: [torch.rand(MICRO_BATCH, width)] * PROMPTS for name in SCORES}
    tokens["mask"] = [mask] * PROMPTS
    experiences = []
    for group in range(PROMPTS):
        image = io.BytesIO()
        Image.fromarray(torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()).save(image, "PNG")
        experiences.append(
            Experience(
                index=list(range(group * SAMPLES, (group + 1) * SAMPLES)),
                sequences=token_ids[torch.randint(len(token_ids), (MICRO_BATCH, width + 1))],
                prompts=["Find x. " * 20] * SAMPLES,
                labels=["13"] * SAMPLES,
                images=[[image.getvalue()]] * SAMPLES,
                mm_train_inputs=[{}] * SAMPLES,
                rewards=torch.rand(SAMPLES),
                truncated=torch.zeros(SAMPLES, dtype=torch.bool),
                info={"format": torch.ones(SAMPLES), "accuracy": torch.ones(SAMPLES)},
            )
        )
    return experiences, [["geometry3k"] * SAMPLES] * PROMPTS, tokens


def time_step(model, experiences: list[Experience]) -> float:
    """Seconds of the model passes of a step."""
    start = time.perf_counter()
    for experience in experiences:
        with torch.no_grad():
            for _ in ("policy", "reference"):
                model(input_ids=experience.sequences)
        model(input_ids=experience.sequences).logits.float().logsumexp(-1).mean().backward()
        model.zero_grad()
    return time.perf_counter() - start


def time_records(processor, batch, max_rows: int) -> tuple[float, float]:
    """Seconds that the controller waits, and that the thread takes, into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        config.run.dir, config.logger.tokens_max_rows = folder, max_rows
        recorder = TokenRecorder(to_arguments(config), processor)
        start = time.perf_counter()
        recorder.record(1, 0.5, *batch)
        waiting = time.perf_counter() - start
        recorder.finish()
        return waiting, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a vision-language model")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or build_tiny_qwen2_5_vl(Path(folder) / "tiny")
        model, processor = (
            AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32),
            AutoProcessor.from_pretrained(path),
        )
    special = processor.tokenizer.all_special_ids
    batch = make_batch(torch.tensor([i for i in range(len(processor.tokenizer)) if i not in special]))
    rounds = []
    for _ in range(arguments.repeats + 1):  # the first warms up
        rounds.append(
            (time_step(model, batch[0]), *time_records(processor, batch, 64), *time_records(processor, batch, 128))
        )
    step, *records = (statistics.median(column) for column in zip(*rounds[1:], strict=True))
    print(f"model passes of a step: {step:.2f} s")
    for rows, waiting, total in ((64, *records[:2]), (128, *records[2:])):
        print(
            f"{rows} rows: controller waits {1000 * waiting:.1f} ms, written after {1000 * total:.0f} ms; of the step "
            f"{waiting / step:.2%} and {total / step:.2%}, with --logger.tokens_every 10 {total / step / 10:.2%}"
        )


if __name__ == "__main__":
    main()

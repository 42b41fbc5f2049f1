"""What writing token records costs, beside a lower bound of the step that it belongs to.

    python benchmarks/token_records.py [--model FOLDER] [--repeats 5]

A batch of 16 prompts x 8 samples x 256 tokens. The lower bound is the policy's and the reference's no-grad forward and
the policy's forward and backward pass over the responses: no generation, image, logit processing, weight sync or Ray.
Without --model it is the tiny model of pepo_rlhf.toy of about a million parameters: any other makes the ratios smaller.
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

from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402

from pepo_rlhf.config import Config  # noqa: E402
from pepo_rlhf.controller.batch import Batch, Draw, make_batch  # noqa: E402
from pepo_rlhf.controller.prompts import Prompt  # noqa: E402
from pepo_rlhf.controller.token_recorder import TokenRecorder  # noqa: E402
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl  # noqa: E402
from pepo_rlhf.workers.responses import Group, Response  # noqa: E402

PROMPTS, SAMPLES, TOKENS, PROMPT_TOKENS, MICRO_BATCH, SIDE = 16, 8, 256, 64, 8, 512
SCORES = ("action_log_probs", "weights", "unweighted_advantages", "advantages")


def make_noise_batch(token_ids: torch.Tensor) -> Batch:
    """Return a batch of random ones of these tokens, each group with an image of noise, the slowest to encode."""
    prompts, groups = [], []
    for row in range(PROMPTS):
        image = io.BytesIO()
        Image.fromarray(torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()).save(image, "PNG")
        prompts.append(Prompt(row, "geometry3k", "Find x. " * 20, "13", (image.getvalue(),)))
        tokens = token_ids[torch.randint(len(token_ids), (SAMPLES, TOKENS))].tolist()
        parts = {"format": 1.0, "accuracy": 1.0}
        responses = [Response(ids, [-1.0] * TOKENS, False, 0.5, parts, None, 0) for ids in tokens]
        groups.append(Group([1] * PROMPT_TOKENS, None, responses))
    batch = make_batch(prompts, groups, Draw(position=0, episode=0, num_drawn_in_episode=PROMPTS), pad_token_id=0)
    for name in SCORES:
        setattr(batch, name, torch.rand(batch.action_mask.shape))
    batch.signals = {name: torch.rand(batch.action_mask.shape) for name in ("entropy", "visual_similarity")}
    batch.loss_mask = batch.action_mask
    return batch


def time_step(model, batch: Batch) -> float:
    """Seconds of the model passes of a step."""
    start = time.perf_counter()
    for sequences in batch.sequences.split(MICRO_BATCH):
        with torch.no_grad():
            for _ in ("policy", "reference"):
                model(input_ids=sequences)
        model(input_ids=sequences).logits.float().logsumexp(-1).mean().backward()
        model.zero_grad()
    return time.perf_counter() - start


def time_records(processor, batch, max_rows: int) -> tuple[float, float]:
    """Seconds that the controller waits, and that the thread takes, into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        config.run.dir, config.logger.tokens_max_rows = folder, max_rows
        recorder = TokenRecorder(config, processor, num_steps=1)
        start = time.perf_counter()
        recorder.record(1, batch, 0.5)
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
    batch = make_noise_batch(torch.tensor([i for i in range(len(processor.tokenizer)) if i not in special]))
    rounds = []
    for _ in range(arguments.repeats + 1):  # the first warms up
        rounds.append(
            (time_step(model, batch), *time_records(processor, batch, 64), *time_records(processor, batch, 128))
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

"""A supervised start for the tiny model, from which reinforcement learning has something to gain.

Phase one teaches the model a generated task, from correct demonstrations. Phase two takes its confidence away
again, with demonstrations many of which carry a random answer: the model still sees, but samples wrong answers often
enough that crediting the right ones pays.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
import transformers
from torch.nn.functional import cross_entropy, pad

from pepo_rlhf import compat
from pepo_rlhf.config.ranges import AT_LEAST_0, SEED, argument
from pepo_rlhf.toy import counting, grounding
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl, save

BATCH_SIZE = 32
LEARNING_RATE, WARMUP_STEPS = 1.5e-3, 50
IGNORED = -100


class Course(NamedTuple):
    """How a task is taught."""

    task: ModuleType
    steps: int  # on correct demonstrations, until a model answers most questions
    noisy_steps: int = 60
    noise: float = 0.65  # share of random answers in the noisy steps
    noisy_learning_rate: float = LEARNING_RATE


COURSES = {
    "counting": Course(counting, steps=460),
    # Boxes are forgotten sooner than counts.
    "grounding": Course(grounding, steps=900, noise=0.5, noisy_learning_rate=5e-4),
}


def train(
    model: transformers.Qwen2_5_VLForConditionalGeneration,
    processor: transformers.Qwen2_5_VLProcessor,
    course: Course,
    seed: int = 0,
) -> None:
    """Train `model` in place: on correct demonstrations, then on ones of which many are random.

    No picture is shown twice. The training is deterministic for a seed and a number of threads.
    """
    rng = random.Random(seed)
    task, total = course.task, course.steps + course.noisy_steps
    rows = task.generate(BATCH_SIZE * total, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    started = time.monotonic()
    for step in range(1, total + 1):
        batch = rows[BATCH_SIZE * (step - 1) : BATCH_SIZE * step]
        noisy = (course.noise, course.noisy_learning_rate)
        noise, learning_rate = noisy if step > course.steps else (0.0, LEARNING_RATE)
        answers = [task.random_answer(rng) if rng.random() < noise else None for _ in batch]
        responses = [task.demonstration(row, answer) for row, answer in zip(batch, answers, strict=True)]
        loss = response_loss(model, processor, batch, responses)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, step / WARMUP_STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 40 == 0 or step == total:
            seconds_left = (time.monotonic() - started) / step * (total - step)
            print(f"step {step} of {total}: loss {loss.item():.3f}, {seconds_left:.0f} s left", flush=True)


def response_loss(
    model: transformers.Qwen2_5_VLForConditionalGeneration,
    processor: transformers.Qwen2_5_VLProcessor,
    rows: list[counting.CountingRow] | list[grounding.GroundingRow],
    responses: list[str],
) -> torch.Tensor:
    """Return the mean cross-entropy of the tokens of `responses`, the end of the turn included.

    Every word of a task is one token, so that all prompts have one length; responses are padded on the right.
    """
    tokenizer = processor.tokenizer
    prompts = [processor.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True) for row in rows]
    inputs = processor(text=prompts, images=[row.draw() for row in rows], return_tensors="pt")
    responses = [response + tokenizer.eos_token for response in responses]
    response = tokenizer(responses, return_tensors="pt", padding=True, padding_side="right")
    length = response["input_ids"].shape[1]
    logits = model(
        input_ids=torch.cat([inputs["input_ids"], response["input_ids"]], dim=1),
        attention_mask=torch.cat([inputs["attention_mask"], response["attention_mask"]], dim=1),
        mm_token_type_ids=pad(inputs["mm_token_type_ids"], (0, length)),
        pixel_values=inputs["pixel_values"],
        image_grid_thw=inputs["image_grid_thw"],
        logits_to_keep=length + 1,
    ).logits
    # The logits at a position predict the token after it; those at the last position predict nothing that is known.
    targets = response["input_ids"].masked_fill(response["attention_mask"] == 0, IGNORED)
    return cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def main() -> None:
    compat.install()
    transformers.utils.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--task", choices=COURSES, default="counting", help="what to learn")
    # Seeds differ widely in how many steps they need; the default one learns to count within phase one.
    parser.add_argument(
        "--seed", type=argument(int, SEED), default=2, help="seed of the weights, the rows and the training"
    )
    parser.add_argument(
        "--steps", type=argument(int, AT_LEAST_0), help="steps on correct demonstrations; by default the task's"
    )
    parser.add_argument(
        "--noisy_steps", type=argument(int, AT_LEAST_0), help="steps with random answers; by default the task's"
    )
    arguments = parser.parse_args()

    course = COURSES[arguments.task]
    given = {name: getattr(arguments, name) for name in ("steps", "noisy_steps")}
    course = course._replace(**{name: value for name, value in given.items() if value is not None})
    build_tiny_qwen2_5_vl(arguments.output, arguments.seed, course.task)
    processor = transformers.AutoProcessor.from_pretrained(arguments.output)
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(arguments.output, dtype=torch.float32)
    train(model, processor, course, arguments.seed)
    save(arguments.output, model, processor)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()

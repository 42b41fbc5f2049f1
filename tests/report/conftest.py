"""Runs made up for the report: curves, evaluations, and token records with the shape of real ones."""

import io
import json
import math
import random

import pytest
import yaml

from pepo_rlhf.metrics.token_records import store_image, write_step
from pepo_rlhf.toy.counting import generate

SETTINGS = {
    "method": "pepo",
    "settings": {"alpha": 0.05, "temperature": 1.8},
    "schedule": "linear",
    "similarity": "cosine",
    "no_image": "uniform",
    "overlong_filtering": False,
    "num_samples": 4,
}


def response_row(tokens, **columns):
    """A row of the records: `tokens` with plain numbers, and `columns`, what a test is about."""
    numbers = [float(place) for place in range(len(tokens))]
    return {
        "step": 1,
        "group": "a",
        "sample": 0,
        "task": "counting",
        "prompt": "How many?",
        "label": "3",
        "response": "".join(tokens),
        "images": [],
        "token_ids": list(range(100, 100 + len(tokens))),
        "token_texts": tokens,
        "log_prob": [-number for number in numbers],
        "entropy": numbers,
        "similarity": numbers,
        "weight": [1.0] * len(tokens),
        "advantage_before": [0.5] * len(tokens),
        "advantage": [0.5] * len(tokens),
        "rollout_log_prob": None,
        "reward": 1.0,
        "reward_parts": {"accuracy": 1.0},
        "truncated": False,
        "has_image": False,
        "progress": 0.5,
        **columns,
    }


def write_metrics(run_dir, num_steps=12, gain=0.5, settings=None):
    """metrics.jsonl, evaluations.jsonl after steps 0 and `num_steps`, and config.yaml."""
    run_dir.mkdir(parents=True, exist_ok=True)
    draw = random.Random(num_steps)
    steps = []
    for step in range(1, num_steps + 1):
        share = step / num_steps
        steps.append(
            {
                "global_step": step,
                "reward": 1 + gain * share + draw.gauss(0, 0.04),
                "accuracy": 0.3 + gain * share + draw.gauss(0, 0.04),
                "response_length": 90.0 + draw.gauss(0, 3),
                "entropy": 0.5 * math.exp(-share),
                "kl": 0.04 * share,
                "weight_p20": 0.97 + draw.gauss(0, 0.002),
                "weight_p50": 1.0,
                "weight_p80": 1.03 + draw.gauss(0, 0.002),
                "rollout_trainer_gap": 0.01,
                "time_generation": 3.0,
                "time_experience": 2.0,
                "time_update": 2.5,
                "time_sync": 0.3,
                "time_step": 7.9,
            }
        )
    evaluations = [evaluation(0, 0.25), evaluation(num_steps, 0.25 + gain)]
    for name, records in (("metrics", steps), ("evaluations", evaluations)):
        (run_dir / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pepo = {"method": "pepo", "settings": {"alpha": 0.05}, **(settings or {})}
    reward = {"functions": ["format", "accuracy"]}
    (run_dir / "config.yaml").write_text(yaml.safe_dump({"pepo": pepo, "reward": reward, "run": {"dir": str(run_dir)}}))


def evaluation(step, accuracy):
    return {
        "global_step": step,
        "eval_num_prompts": 200,
        "eval_num_samples": 800.0,
        "eval_reward": 1 + accuracy,
        "eval_accuracy": accuracy,
        "eval_accuracy_low": accuracy - 0.03,
        "eval_accuracy_high": accuracy + 0.04,
    }


def write_records(run_dir, steps, prompts_a_step, samples, num_tokens=40, seed=0):
    """Token records of counting problems with images; every fourth prompt is arithmetic, without one."""
    draw = random.Random(seed)
    problems = generate(len(steps) * prompts_a_step, seed)
    for step in steps:
        rows = []
        for number in range(prompts_a_step):
            problem = problems.pop()
            if number % 4 == 3:
                a, b = draw.randint(2, 30), draw.randint(2, 30)
                common = {"prompt": chat(f"What is {a} + {b}?", ""), "label": str(a + b), "task": "arithmetic"}
                topic, images = f"{a} and {b}", []
            else:
                question = problem.problem.removeprefix("<image>")
                vision = "<|vision_start|><|image_pad|><|vision_end|>"
                common = {"prompt": chat(question, vision), "label": str(problem.count), "task": "counting"}
                encoded = io.BytesIO()
                problem.draw().save(encoded, "PNG")
                topic, images = f"{problem.colour} squares", [store_image(run_dir, encoded.getvalue())]
            for sample in range(samples):
                right = draw.random() < 0.5
                answer = common["label"] if right else str(int(common["label"]) + 1)
                rows.append(
                    {
                        **sampled_response(draw, topic, answer, num_tokens, bool(images), right),
                        **common,
                        "step": step,
                        "group": str(number),
                        "sample": sample,
                        "images": images,
                    }
                )
        write_step(run_dir, step, rows, SETTINGS, batch_size=2 * len(rows))


def chat(question, vision):
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    instruction = "Reason step by step inside <think> </think>, then answer inside <answer> </answer>."
    return f"{system}<|im_start|>user\n{vision}{question}\n\n{instruction}<|im_end|>\n<|im_start|>assistant\n"


_LINES = (
    "the first row has {n} of the {topic}, and next to it there are {n} more",
    "so far that makes {n}; looking at the second row again, I see {n}",
    "wait, one of them was counted twice, so {n} rather than {n}",
    "adding what is left of the {topic} gives {n} in all",
)


def sampled_response(draw, topic, answer, num_tokens, has_image, right):
    """A chain of thought of about `num_tokens` tokens; similarity and entropy high on numbers and colours."""
    words = ["<think>"]
    while len(words) < num_tokens - 8:
        line = draw.choice(_LINES).format(n=draw.randint(1, 5), topic=topic)
        words += [word if not place else f" {word}" for place, word in enumerate(line.split())] + [".\n"]
    words += ["</think>", "<answer>", answer, "</answer>"]
    looks = [any(character.isdigit() for character in word) or "squares" in word or "row" in word for word in words]
    similarity = [draw.gauss(0.12 if look and has_image else 0.04, 0.02) for look in looks]
    entropy = [abs(draw.gauss(0.9 if look else 0.15, 0.25)) for look in looks]
    scores = [math.exp(value / 1.8 * 2) for value in similarity]
    weight = [score * len(scores) / sum(scores) if has_image else 1.0 for score in scores]
    before = 0.9 if right else -0.9
    log_prob = [-value * draw.random() for value in entropy]
    return {
        **response_row(words),
        "token_ids": [sum(word.encode()) for word in words],
        "log_prob": log_prob,
        "entropy": entropy,
        "similarity": similarity,
        "weight": weight,
        "advantage_before": [before] * len(words),
        "advantage": [before * (0.5 + 0.5 * value) for value in weight],
        "rollout_log_prob": [value + draw.gauss(0, 0.003) for value in log_prob],
        "reward": 1.0 + right,
        "reward_parts": {"format": 1.0, "accuracy": float(right)},
        "truncated": draw.random() < 0.05,
        "has_image": has_image,
    }


@pytest.fixture(scope="session")
def metrics_writer():
    """Function that writes the files of a run but its token records."""
    return write_metrics


@pytest.fixture(scope="session")
def record():
    """Function that writes one step of token records, a dict of columns (and `tokens`) a response."""

    def record(run_dir, *rows, batch_size=8):
        write_step(run_dir, 1, [response_row(**row) for row in rows], SETTINGS, batch_size)

    return record


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory):
    """A run of 12 steps with 2 of them recorded: 24 prompts with 4 responses each."""
    run_dir = tmp_path_factory.mktemp("runs") / "recorded"
    write_metrics(run_dir)
    write_records(run_dir, steps=[4, 8], prompts_a_step=12, samples=4)
    return run_dir

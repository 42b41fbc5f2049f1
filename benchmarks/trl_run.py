"""One run of TRL's GRPOTrainer for benchmarks/peers.py: python -m benchmarks.trl_run OUT --config FILE ...

It takes a configuration of ours: model, rows, rewards, batch, learning rate and KL are the same, and each batch is one
update. TRL generates with transformers. OUT gets the seconds of each step but the first, as a list in JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pepo_rlhf import compat
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import Config, parse_arguments
from pepo_rlhf.rewards.reward import load_rewards

compat.install()

import datasets  # noqa: E402  (prepared first)
import transformers  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from pepo_rlhf.data.images import decode_image  # noqa: E402
from pepo_rlhf.data.prompt import build_messages  # noqa: E402


class Clock(transformers.TrainerCallback):
    """Notes the time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args, **kwargs) -> None:
        self.ends.append(time.monotonic())


def main() -> None:
    out, clock = Path(sys.argv.pop(1)), Clock()
    config = parse_arguments()
    inputs = Inputs(config)
    trainer = GRPOTrainer(
        model=_model(config),
        processing_class=inputs.processor,
        reward_funcs=_rewards(config),
        args=_settings(config, len(inputs.training_rows.rows), out.with_suffix("")),
        train_dataset=datasets.Dataset.from_list([_record(row) for row in inputs.training_rows.rows]),
        callbacks=[clock],
    )
    trainer.train()
    out.write_text(json.dumps([end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]))


def _model(config: Config) -> Any:
    model = transformers.AutoModelForImageTextToText.from_pretrained(config.actor.model_name_or_path, dtype="float32")
    model.model.visual.requires_grad_(not config.actor.freeze_visual_encoder)
    return model


def _record(row: Any) -> dict[str, Any]:
    """A row in TRL's form, which puts the images before the first user message, where ours stand."""
    messages = [
        {"role": message["role"], "content": "".join(part.get("text", "") for part in message["content"])}
        for message in build_messages(row)
    ]
    return {"prompt": messages, "images": [decode_image(image) for image in row.images], "label": row.label}


def _rewards(config: Config) -> list:
    """A function for each component, with the name that TRL logs."""
    functions = []
    for name, component in load_rewards(config.reward.functions).components.items():

        def reward(completions, label, component=component, **_):
            pairs = zip(completions, label, strict=True)
            return [component(completion[0]["content"], answer) for completion, answer in pairs]

        reward.__name__ = name
        functions.append(reward)
    return functions


def _settings(config: Config, num_rows: int, folder: Path) -> GRPOConfig:
    steps = num_rows // config.rollout.batch_size
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=config.train.micro_batch_size,
        gradient_accumulation_steps=config.train.batch_size // config.train.micro_batch_size,
        max_steps=steps * config.train.num_episodes,
        num_generations=config.rollout.n_samples_per_prompt,
        max_completion_length=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        top_k=0,
        beta=config.algo.kl.init_coef,
        learning_rate=config.actor.adam.lr,
        adam_beta1=config.actor.adam.betas[0],
        adam_beta2=config.actor.adam.betas[1],
        lr_scheduler_type="constant",
        loss_type="grpo",
        gradient_checkpointing=config.actor.gradient_checkpointing_enable,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
    )


if __name__ == "__main__":
    main()

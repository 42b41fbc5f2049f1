"""OpenRLHF's own trainer, workers and rollout, with what a machine without CUDA needs and nothing else of this project.

Without it they do not run here: weights that travel through shared memory, float32, sdpa, and a bias against image
placeholders, which upstream's forward takes for images when a random model samples them. On CUDA the weights travel by
upstream's own transports and extension of the engine; this has not been run there.
"""

from __future__ import annotations

import json
from typing import Any

import openrlhf.models
import ray
import torch
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ray import launcher, ppo_actor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.utils import get_strategy
from openrlhf.utils.utils import get_tokenizer
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks import hash_reward
from pepo_rlhf.compat import cpu
from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.config.arguments import Arguments
from pepo_rlhf.controller import placement
from pepo_rlhf.controller.prompts import render_prompts
from pepo_rlhf.controller.watchdog import Watchdog
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.rewards.accuracy import accuracy_reward
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.tasks.run_rows import load_run_rows
from pepo_rlhf.weight_sync.receiver import WeightReceiver
from pepo_rlhf.weight_sync.sync import WeightSync

# The values of upstream's own command for flags that its trainer reads and this project does not have.
ONLY_UPSTREAM: dict[str, Any] = {
    "algo.advantage.gamma": 1.0,
    "algo.advantage.lambd": 1.0,
    "algo.dynamic_filtering_range": (0.0, 1.0),
    "algo.kl.target": None,
    "algo.kl.horizon": 10000,
    "critic.freezing_steps": -1,
    "logger.tensorboard_dir": None,
    "logger.wandb.key": None,
    "train.colocate_critic_reward": False,
}


def undo_patches() -> None:
    """Bind upstream's own classes and functions again, in a process where the register has replaced them."""
    ppo_actor.Actor = launcher.Actor = openrlhf.models.Actor


class StockPolicy(ppo_actor.PolicyModelActor.__ray_metadata__.modified_class):
    """Upstream's policy; on a machine without CUDA with the weight sync of this project."""

    def init_model_from_pretrained(self, strategy, config: Config, max_steps, engines, resume_from) -> None:
        undo_patches()
        own = engines if torch.cuda.is_available() else None
        super().init_model_from_pretrained(strategy, config.actor.model_name_or_path, max_steps, vllm_engines=own)
        self.weight_sync = None if own else WeightSync(config, self.actor.model.module, engines)

    def broadcast_to_vllm(self) -> None:
        if self.weight_sync is None:
            super().broadcast_to_vllm()
        else:
            self.weight_sync.send(0)


class StockReference(launcher.ReferenceModelActor.__ray_metadata__.modified_class):
    def init_model_from_pretrained(self, strategy, pretrain) -> None:
        undo_patches()
        super().init_model_from_pretrained(strategy, pretrain)


class StockRollout(WeightReceiver, RolloutRayActor.__ray_metadata__.modified_class):
    """Upstream's rollout with this project's verifiers; without CUDA, with its side of the weight sync."""

    async def __init__(self, reward, number, min_pixels, max_pixels, **engine_kwargs) -> None:  # type: ignore[misc]
        processor = get_tokenizer(engine_kwargs["model"], None)
        self.forbidden = {token: -100.0 for token in vision_token_ids(processor)}
        engine_kwargs |= cpu.engine_arguments()
        if torch.cuda.is_available():
            engine_kwargs["worker_extension_cls"] = "openrlhf.trainer.ray.vllm_worker_wrap.WorkerWrap"
        file = hash_reward.__file__ if reward.functions[0].endswith(":hash_reward") else __file__
        await super().__init__(**engine_kwargs, mm_pad_token_ids=vision_token_ids(processor), remote_rm_url=file)

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        sampling_params.logit_bias = self.forbidden
        return await super().generate(prompt_token_ids, sampling_params, multi_modal_data)

    async def check_health(self) -> str:
        return ray.get_runtime_context().get_worker_id()

    async def shutdown(self) -> None:
        self.llm.shutdown()


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """Return what upstream asks of the file named as reward: the two verifiers of our side, in upstream's process."""
    response = queries[0].removeprefix(prompts[0])
    reward = format_reward(response, labels[0]) + accuracy_reward(response, labels[0])
    return {"rewards": reward, "scores": reward, "extra_logs": {}}


class StockTrainer(ppo_trainer.PPOTrainer.__ray_metadata__.modified_class):
    """Upstream's loop, writing each step's times to where this project's runs write their metrics."""

    def save_logs_and_checkpoints(self, global_step, logs_dict=None, client_states=None) -> None:
        with open(f"{self.args.run.dir}/metrics.jsonl", "a") as file:
            timings = {k.removeprefix("timing/"): v for k, v in logs_dict.items() if k.startswith("timing/")}
            file.write(json.dumps(timings) + "\n")


def run(config: Config) -> None:
    """Train as pepo_rlhf.controller.run does, with upstream's classes in the place of ours, on the same rows."""
    processor = get_tokenizer(config.actor.model_name_or_path, None)
    rows = load_run_rows(config.data.prompt_dataset, config.data.prompt_split, config.data, processor).rows
    items = [
        (prompt.datasource, prompt.text, prompt.label, list(prompt.images))
        for prompt in render_prompts(rows, processor)
    ]
    loader = StatefulDataLoader(items, batch_size=1, collate_fn=_columns)
    num_steps = len(items) // config.rollout.batch_size
    ppo_trainer.prepare_datasets = lambda strategy, tokenizer: (loader, None, num_steps)
    placement.PolicyActor = ray.remote(num_gpus=1)(StockPolicy)
    placement.ReferenceActor = ray.remote(num_gpus=1)(StockReference)
    placement.RolloutActor = ray.remote(StockRollout)
    with Watchdog(config.run.stall_timeout) as watchdog, placement.start_workers(config, watchdog) as workers:
        placement.load_models(config, workers, num_steps)
        lengths = {"max_len": config.data.max_len, "max_new_tokens": config.rollout.max_new_tokens}
        sampling = {"temperature": config.rollout.temperature, "top_p": config.rollout.top_p}
        StockTrainer(
            config.actor.model_name_or_path,
            get_strategy(upstream_arguments(config)),
            workers.policy,
            None,  # no critic
            None,  # no reward model
            workers.reference,
            workers.engine_handles,
            **lengths,
            **sampling,
        ).fit()


def upstream_arguments(config: Config) -> Arguments:
    """Return the namespace of the settings, with what only upstream's trainer reads of it."""
    arguments = to_arguments(config)
    for flag, value in ONLY_UPSTREAM.items():
        *sections, name = flag.split(".")
        section = arguments
        for key in sections:
            section = vars(section).setdefault(key, Arguments())
        setattr(section, name, value)
    return arguments


def _columns(items: list[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*items, strict=True))

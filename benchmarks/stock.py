"""OpenRLHF's own trainer, workers and rollout, with what a machine without CUDA needs and nothing else of this project.

Without it they do not run here: weights that travel through shared memory, float32, sdpa, and a bias against image
placeholders, which upstream's forward takes for images when a random model samples them.
"""

from __future__ import annotations

import json

import ray
from openrlhf.trainer.ppo_trainer import PPOTrainer
from openrlhf.trainer.ray import launcher, ppo_actor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.compat import cpu, wiring
from pepo_rlhf.controller import placement, prompts
from pepo_rlhf.rewards.accuracy import accuracy_reward
from pepo_rlhf.rewards.format import format_reward
from pepo_rlhf.workers.policy import vision_token_ids
from pepo_rlhf.workers.policy_trainer import PolicyTrainer
from pepo_rlhf.workers.rollout import RolloutWorker

NEEDED = ("convert_to_torch_dtype", "prepare_datasets")  # the latter: both sides read the same rows


class StockActorTrainer(ppo_actor.ActorPPOTrainer):
    """Upstream's update with the weight sync of this project."""

    num_syncs = 0
    _init_vllm_sync_group = PolicyTrainer._init_vllm_sync_group
    broadcast_to_vllm = PolicyTrainer.broadcast_to_vllm
    _reload_engines = PolicyTrainer._reload_engines
    _transfer = PolicyTrainer._transfer
    _on_engines = PolicyTrainer._on_engines


def prepare() -> None:
    """Called first in every Ray actor of a stock run."""
    wiring.apply(tuple(row for row in wiring.REBINDINGS if row.name in NEEDED))
    ppo_actor.ActorPPOTrainer = StockActorTrainer
    prompts.TrainingPrompts = prompts.PromptDataset  # upstream's loop reads four columns


class StockPolicy(ppo_actor.PolicyModelActor.__ray_metadata__.modified_class):
    def __init__(self, *args, **kwargs) -> None:
        prepare()
        super().__init__(*args, **kwargs)


class StockReference(launcher.ReferenceModelActor.__ray_metadata__.modified_class):
    def __init__(self, *args, **kwargs) -> None:
        prepare()
        super().__init__(*args, **kwargs)


class StockRollout(RolloutRayActor.__ray_metadata__.modified_class):
    """Upstream's rollout with this project's side of the weight sync, and its verifiers."""

    begin_weight_update = RolloutWorker.begin_weight_update
    reload_weights = RolloutWorker.reload_weights
    finish_weight_update = RolloutWorker.finish_weight_update

    async def __init__(self, rewards, min_pixels, max_pixels, **engine_kwargs) -> None:  # type: ignore[misc]
        processor = get_tokenizer(engine_kwargs["model"], None)
        self.forbidden = {token: -100.0 for token in vision_token_ids(processor)}
        engine_kwargs |= cpu.engine_arguments()
        await super().__init__(**engine_kwargs, mm_pad_token_ids=vision_token_ids(processor), remote_rm_url=__file__)

    async def generate(self, prompt_token_ids, sampling_params, multi_modal_data=None):
        sampling_params.logit_bias = self.forbidden
        return await super().generate(prompt_token_ids, sampling_params, multi_modal_data)

    async def shutdown(self) -> None:
        self.llm.shutdown()


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """What upstream loads from the file named as reward: the two verifiers that our side has, in upstream's process."""
    response = queries[0].removeprefix(prompts[0])
    reward = format_reward(response, labels[0]) + accuracy_reward(response, labels[0])
    return {"rewards": reward, "scores": reward, "extra_logs": {}}


class StockTrainer(PPOTrainer.__ray_metadata__.modified_class):
    """Upstream's loop, writing each step's status to where this project's runs write their metrics.

    Further methods are what `controller.placement` calls.
    """

    def __init__(self, *args, **kwargs) -> None:
        prepare()
        super().__init__(*args, **kwargs)

    def save_logs_and_checkpoints(self, global_step, logs_dict=None, client_states=None) -> None:
        with open(f"{self.args.run.dir}/metrics.jsonl", "a") as file:
            timings = {k.removeprefix("timing/"): v for k, v in logs_dict.items() if k.startswith("timing/")}
            file.write(json.dumps(timings) + "\n")

    def check_blindness(self) -> None:
        """Upstream has no such gate."""

    def current_phase(self) -> str:
        return "training"


def run(args) -> None:
    """`pipeline.placement.run` with upstream's classes in the place of ours."""
    prepare()
    placement.PolicyActor = ray.remote(num_gpus=1)(StockPolicy)
    placement.ReferenceActor = ray.remote(num_gpus=1)(StockReference)
    placement.RolloutActor = ray.remote(StockRollout)
    placement._trainer_class = lambda args: ray.remote(StockTrainer).options(max_concurrency=2)
    placement.run(args)

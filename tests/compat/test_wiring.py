"""Contract with the pinned OpenRLHF: what is rebound, overridden or read there is still there, in the same form."""

import ast
import importlib
import importlib.metadata
import inspect
from dataclasses import fields
from pathlib import Path

import openrlhf.trainer.ppo_trainer_async as ppo_trainer_async
import pytest
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, PPOTrainer, compute_eval_metrics
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.trainer.ray.launcher import RayActorGroup, ReferenceModelActor
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer, PolicyModelActor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap
from openrlhf.utils.deepspeed import DeepspeedStrategy

from pepo_rlhf.compat import wiring


def plain(ray_class):
    return ray_class.__ray_metadata__.modified_class


# Upstream's function -> the parameters that this project relies on, in order.
SIGNATURES = {
    RemoteExperienceMaker._flatten_results: ["self", "refs", "duplicate_factor"],
    RemoteExperienceMaker.compute_advantages_and_returns: ["self", "experiences"],
    SamplesGenerator._generate_vllm: ["self", "dataloader_iter", "num_prompts", "dynamic_filtering", "generate_kwargs"],
    SamplesGenerator._process_response_into_experience: ["self", "response", "generate_kwargs"],
    BasePPOTrainer.train_step: ["self", "rollout_samples", "global_step"],
    BasePPOTrainer.ppo_train: ["self", "global_steps"],
    BasePPOTrainer.broadcast_to_vllm: ["self"],
    BasePPOTrainer.save_logs_and_checkpoints: ["self", "global_step", "logs_dict", "client_states"],
    BasePPOTrainer.init_checkpoint_states: ["self"],
    BasePPOTrainer.save_best_checkpoint: ["self", "eval_metrics", "global_step", "client_states"],
    plain(PPOTrainer).fit: ["self", "global_step"],
    plain(PPOTrainer).evaluate: ["self", "global_step", "generate_kwargs"],
    compute_eval_metrics: ["eval_dataloader", "samples_list", "n_samples_per_prompt"],
    plain(ppo_trainer_async.GenerateSamplesActor).fit: ["self", "episode", "total_consumed_prompts"],
    plain(PolicyModelActor).save_checkpoint: ["self", "tag", "client_states", "metric_value", "metric_key"],
    TorchCheckpointEngine.save: ["self", "state_dict", "path"],
    ActorPPOTrainer._init_vllm_sync_group: ["self", "backend"],
    ActorPPOTrainer.broadcast_to_vllm: ["self"],
    plain(PolicyModelActor).forward: [
        "self",
        "sequences",
        "action_mask",
        "attention_mask",
        "packed_seq_lens",
        "mm_train_inputs_list",
    ],
    plain(PolicyModelActor).init_model_from_pretrained: ["self", "strategy", "pretrain", "max_steps", "vllm_engines"],
    plain(ReferenceModelActor).init_model_from_pretrained: ["self", "strategy", "pretrain"],
    plain(RolloutRayActor).__init__: [
        "self",
        "args",
        "bundle_indices",
        "agent_func_path",
        "remote_rm_url",
        "mm_pad_token_ids",
        "kwargs",
    ],
    plain(RolloutRayActor).generate: ["self", "prompt_token_ids", "sampling_params", "multi_modal_data"],
    plain(PPOTrainer).__init__: [
        "self",
        "pretrain",
        "strategy",
        "actor_model_group",
        "critic_model_group",
        "reward_model_group",
        "reference_model_group",
        "vllm_engines",
        "generate_kwargs",
    ],
    RayActorGroup.__init__: [
        "self",
        "num_nodes",
        "num_gpus_per_node",
        "ray_actor_type",
        "pg",
        "num_gpus_per_actor",
        "duplicate_actors",
        "resources",
        "num_resources_per_node",
    ],
    WorkerWrap.update_weight: ["self", "name", "dtype", "shape", "empty_cache"],
    WorkerWrap.update_weight_cuda_ipc: ["self", "name", "dtype", "shape", "ipc_handles", "empty_cache"],
    DeepspeedStrategy.moving_average: ["self", "model", "model_ema", "beta", "device"],
}


def test_the_pinned_version_is_installed():
    assert importlib.metadata.version("openrlhf") == "0.11.2"


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signature(function):
    parameters = [name for name in inspect.signature(function).parameters if name != "_ray_trace_ctx"]  # Ray adds it
    assert parameters == SIGNATURES[function]


@pytest.mark.parametrize("rebinding", wiring.REBINDINGS, ids=lambda r: f"{r.module.split('.')[-1]}.{r.name}")
def test_upstream_looks_the_rebound_name_up_at_call_time(rebinding):
    """Rebinding has an effect only where a function reads its module's global, or imports the name when called."""
    source = Path(importlib.import_module(rebinding.module).__file__).read_text()
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    reads = {
        node.id
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    callers = ("openrlhf.models.actor", "openrlhf.trainer.ray.launcher")
    trees = [ast.parse(Path(importlib.import_module(caller).__file__).read_text()) for caller in callers]
    imported_when_called = {
        (node.module, alias.name)
        for tree in trees
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert rebinding.name in reads or (rebinding.module, rebinding.name) in imported_when_called


def test_apply_rebinds_all():
    originals = {(r.module, r.name): getattr(importlib.import_module(r.module), r.name) for r in wiring.REBINDINGS}
    try:
        wiring.apply()
        for module, name, replacement, _ in wiring.REBINDINGS:
            module_name, attribute = replacement.split(":")
            bound = getattr(importlib.import_module(module), name)
            assert bound is getattr(importlib.import_module(module_name), attribute)
            assert bound is not originals[module, name]
    finally:
        for (module, name), original in originals.items():
            setattr(importlib.import_module(module), name, original)


def test_experience_has_no_place_for_scores():
    """Should upstream carry arbitrary per-token fields one day, scores need not be kept apart any more."""
    assert not {"visual_similarity", "entropy", "token_weights"} & {field.name for field in fields(Experience)}

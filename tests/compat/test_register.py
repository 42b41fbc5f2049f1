"""Contract with the pinned libraries: what is patched, subclassed or called there is still there, in the same form."""

import ast
import importlib
import importlib.metadata
import inspect
import os
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from openrlhf.models import Actor
from openrlhf.trainer.ray.launcher import RayActorGroup, ReferenceModelActor
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer, PolicyModelActor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.trainer.ray.vllm_worker_wrap import WorkerWrap
from openrlhf.utils.distributed_util import stateless_init_process_group
from openrlhf.utils.utils import get_tokenizer

from pepo_rlhf.compat.register import PATCHES

PACKAGE = Path(__file__).parents[2] / "pepo_rlhf"
IDS = [f"{patch.module.split('.')[-1]}.{patch.name}" for patch in PATCHES]


def plain(ray_class):
    return ray_class.__ray_metadata__.modified_class


# Upstream's function -> the parameters that this project relies on, in order.
SIGNATURES = {
    plain(PolicyModelActor).init_model_from_pretrained: ["self", "strategy", "pretrain", "max_steps", "vllm_engines"],
    plain(ReferenceModelActor).init_model_from_pretrained: ["self", "strategy", "pretrain"],
    plain(RolloutRayActor).__init__: [
        *("self", "args", "bundle_indices", "agent_func_path", "remote_rm_url", "mm_pad_token_ids", "kwargs")
    ],
    plain(RolloutRayActor).generate: ["self", "prompt_token_ids", "sampling_params", "multi_modal_data"],
    plain(RolloutRayActor).init_process_group: [
        *("self", "master_address", "master_port", "rank_offset", "world_size", "group_name", "backend", "use_ray")
    ],
    plain(RolloutRayActor).update_weight: ["self", "name", "dtype", "shape", "empty_cache"],
    plain(RolloutRayActor).update_weight_cuda_ipc: ["self", "name", "dtype", "shape", "ipc_handles", "empty_cache"],
    WorkerWrap.update_weight: ["self", "name", "dtype", "shape", "empty_cache"],
    WorkerWrap.update_weight_cuda_ipc: ["self", "name", "dtype", "shape", "ipc_handles", "empty_cache"],
    ActorPPOTrainer.training_step: ["self", "experience", "kl_ctl", "step", "loss_batch_info"],
    Actor.forward: [
        *("self", "sequences", "action_mask", "attention_mask", "return_output", "allgather_logits"),
        *("return_logprobs", "ring_attn_group", "packed_seq_lens", "return_entropy", "mm_inputs"),
    ],
    RayActorGroup.__init__: [
        *("self", "num_nodes", "num_gpus_per_node", "ray_actor_type", "pg", "num_gpus_per_actor"),
        *("duplicate_actors", "resources", "num_resources_per_node"),
    ],
    RayActorGroup.async_run_method: ["self", "method_name", "args", "kwargs"],
    RayActorGroup.async_run_method_batch: ["self", "method_name", "kwargs"],
    get_tokenizer: ["pretrain", "model", "padding_side", "strategy", "use_fast"],
    stateless_init_process_group: ["master_address", "master_port", "rank", "world_size", "device"],
    TorchCheckpointEngine.save: ["self", "state_dict", "path"],
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signature(function):
    parameters = [name for name in inspect.signature(function).parameters if name != "_ray_trace_ctx"]  # Ray adds it
    assert parameters == SIGNATURES[function]


@pytest.mark.parametrize("patch", PATCHES, ids=IDS)
def test_a_row_was_written_for_the_installed_version_and_says_why_and_until_when(patch):
    distribution, version = patch.written_for.split()
    versions = {found.name: found.version for found in importlib.metadata.distributions()}
    installed = versions.get(distribution) or versions[f"{distribution}-cpu"]  # vLLM's name where there is no GPU
    assert installed.partition("+")[0] == version
    assert patch.reason and patch.until


@pytest.mark.parametrize("patch", PATCHES, ids=IDS)
def test_the_name_is_there_and_is_rebound_in_this_process(patch):
    """`tests/conftest.py` has prepared this process as the hook prepares a Ray worker."""
    bound = reduce(getattr, patch.name.split("."), importlib.import_module(patch.module))
    bound = getattr(bound, "fget", bound)  # of a property
    assert bound.__module__.startswith("pepo_rlhf."), "an original is still bound"


FREE = [patch for patch in PATCHES if patch.written_for.startswith("openrlhf") and "." not in patch.name]


@pytest.mark.parametrize("patch", FREE, ids=lambda patch: f"{patch.module.split('.')[-1]}.{patch.name}")
def test_upstream_looks_the_name_up_when_it_is_called(patch):
    """Rebinding a global has an effect only where a function reads it, or imports it, when it is called."""
    tree = ast.parse(Path(importlib.import_module(patch.module).__file__).read_text())
    caller = ast.parse(Path(inspect.getfile(Actor)).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = (node for function in functions for node in ast.walk(function) if isinstance(node, ast.Name))
    reads = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    imported = {
        (node.module, alias.name)
        for function in ast.walk(caller)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert patch.name in reads or (patch.module, patch.name) in imported


def test_few_names_of_openrlhf_are_rebound():
    assert len([patch for patch in PATCHES if patch.written_for.startswith("openrlhf")]) <= 10


def test_a_gpu_keeps_what_it_needs_no_patch_for():
    code = (
        "from pepo_rlhf.compat import register; import torch; torch.cuda.is_available = lambda: True; "
        "before = torch.cuda.current_device; "
        "[register._apply(patch, torch) for patch in register.PATCHES if patch.module == 'torch']; "
        "print(torch.cuda.current_device is before)"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=clean)
    assert done.stdout.strip() == "True", done.stderr


def test_nothing_outside_compat_rebinds_a_name_of_another_library():
    """Assignments to attributes of imported modules and of classes of theirs, and setattr on them."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(PACKAGE / "compat"):
            continue
        tree = ast.parse(path.read_text())
        foreign = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                foreign |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("pepo_rlhf"):
                foreign |= {alias.asname or alias.name for alias in node.names}
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
                targets = [node.args[0]]
            for target in targets:
                owner = ast.unparse(target).partition(".")[0].partition("[")[0]
                if isinstance(target, ast.Attribute | ast.Call) and owner in foreign - {"os"}:
                    found.append(f"{path.relative_to(PACKAGE)}: {ast.unparse(target)}")
    assert found == []

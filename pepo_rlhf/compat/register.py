"""Every name of another library that this package rebinds, why, and until when.

A row is applied right after its module is imported, in every process (`compat.install`). Nothing else in the package
rebinds a name of another library. `tests/compat/test_register.py` holds each row against the pinned versions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import wrapt


class Patch(NamedTuple):
    """One rebound name.

    Attributes:
        written_for: distribution and version that the row was written for.
        module, name: what is rebound; the name may be dotted (Class.method).
        make: "module:function" of ours that takes the original and returns its replacement.
        reason: what the library does instead.
        until: when the row can go.
        cpu_only: whether the row is left out where torch sees a CUDA device.
    """

    written_for: str
    module: str
    name: str
    make: str
    reason: str
    until: str
    cpu_only: bool = False


_OPENRLHF, _TRANSFORMERS = "openrlhf 0.11.2", "transformers 5.15.0"
_TORCH, _DEEPSPEED, _VLLM = "torch 2.13.0", "deepspeed 0.19.6", "vllm 0.29.0"
_NO_CPU = "OpenRLHF asks torch for the device instead of naming CUDA"

PATCHES = (
    Patch(
        _OPENRLHF,
        "openrlhf.trainer.ray.ppo_actor",
        "Actor",
        "pepo_rlhf.compat.openrlhf:actor",
        "the policy's model computes float32 logits of every position and returns log-probs only",
        "PolicyModelActor takes the class of its model as an argument",
    ),
    Patch(
        _OPENRLHF,
        "openrlhf.trainer.ray.launcher",
        "Actor",
        "pepo_rlhf.compat.openrlhf:actor",
        "the reference's model does the same",
        "ReferenceModelActor takes the class of its model as an argument",
    ),
    Patch(
        _OPENRLHF,
        "openrlhf.utils.utils",
        "convert_to_torch_dtype",
        "pepo_rlhf.compat.openrlhf:convert_to_torch_dtype",
        "bf16 and fp16 are known, fp32 is not; CPUs without their instructions compute them 25 times slower",
        "upstream takes fp32",
    ),
    Patch(
        _OPENRLHF,
        "openrlhf.utils.deepspeed.deepspeed",
        "init_device_mesh",
        "pepo_rlhf.compat.openrlhf:device_mesh_on_cpu",
        'the device mesh is built on "cuda"',
        _NO_CPU,
        cpu_only=True,
    ),
    Patch(
        _OPENRLHF,
        "openrlhf.utils.deepspeed.deepspeed",
        "DeepspeedStrategy.moving_average",
        "pepo_rlhf.compat.openrlhf:moving_average_on_cpu",
        'the moving average is computed on the literal "cuda"',
        _NO_CPU,
        cpu_only=True,
    ),
    Patch(
        _OPENRLHF,
        "openrlhf.trainer.ppo_utils.replay_buffer",
        "NaiveReplayBuffer.__init__",
        "pepo_rlhf.compat.openrlhf:replay_buffer_on_cpu",
        'the buffer\'s device is "cuda:<current device>"',
        _NO_CPU,
        cpu_only=True,
    ),
    *(
        Patch(_TORCH, "torch", f"cuda.{name}", f"pepo_rlhf.compat.torch:{make}", reason, _NO_CPU, cpu_only=True)
        for name, make, reason in (
            ("current_device", "current_device", "OpenRLHF moves tensors to torch.cuda.current_device()"),
            ("set_device", "do_nothing", "OpenRLHF calls it unconditionally"),
            ("synchronize", "do_nothing", "OpenRLHF calls it unconditionally"),
        )
    ),
    Patch(
        _DEEPSPEED,
        "deepspeed.comm.torch",
        "build_shm_op",
        "pepo_rlhf.compat.deepspeed:no_shared_memory_collectives",
        "collectives in shared memory are compiled, a minute of two cores, and only inference calls them",
        "DeepSpeed compiles them when they are first called",
        cpu_only=True,
    ),
    Patch(
        _DEEPSPEED,
        "deepspeed.runtime.zero.partition_parameters",
        "Init._allgather_params_coalesced",
        "pepo_rlhf.compat.deepspeed:gather_one_by_one",
        "ZeRO-3 gathers several weights at once and waits for the last; gloo, with its threads, may end others later, "
        "and weights that were loaded meanwhile are overwritten",
        "DeepSpeed waits for every gather of a group",
        cpu_only=True,
    ),
    Patch(
        _TRANSFORMERS,
        "transformers.dynamic_module_utils",
        "resolve_trust_remote_code",
        "pepo_rlhf.compat.remote_code:gated",
        "OpenRLHF passes trust_remote_code=True in every loader",
        "OpenRLHF and vLLM take the flag from the user",
    ),
    Patch(
        _TRANSFORMERS,
        "transformers.integrations.hub_kernels",
        "load_and_register_attn_kernel",
        "pepo_rlhf.compat.remote_code:gated_kernel",
        "an attention that is not installed is downloaded from the hub and run, if the package kernels is there",
        "transformers asks for trust_remote_code first",
    ),
    Patch(
        _TRANSFORMERS,
        "transformers.modeling_utils",
        "load_state_dict",
        "pepo_rlhf.compat.pickled_weights:safetensors_only",
        "weights in pickles are loaded, and unpickling may run code that comes with a model",
        "transformers refuses pickles by default",
    ),
    Patch(
        _TRANSFORMERS,
        "transformers.core_model_loading",
        "Transpose.reverse_op",
        "pepo_rlhf.compat.transformers:transposed_back",
        "experts of Qwen3-VL-MoE are transposed when they are loaded, and saved as they are, which vLLM cannot load",
        "save_pretrained writes them as checkpoints hold them",
    ),
    Patch(
        _TRANSFORMERS,
        "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
        "Qwen2_5_VisionPatchEmbed.__init__",
        "pepo_rlhf.compat.transformers:linear_patch_embedding",
        "the patch embedding is a Conv3d whose kernel is its stride: a linear layer, and five times slower than one",
        "transformers or torch computes it as a linear layer",
        cpu_only=True,
    ),
    Patch(
        _VLLM,
        "vllm.model_executor.models.mistral3",
        "Mistral3HFEncoderInfo.get_patch_grid_size",
        "pepo_rlhf.compat.vllm:grid_of_whole_tokens",
        "an image's sides are rounded up to patches and then down to tokens of 2 x 2 patches; transformers' processor "
        "rounds up to tokens, so that prompts differ",
        "vLLM counts as the processor of transformers 5.15 does",
    ),
    Patch(
        _VLLM,
        "vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method",
        "UnquantizedFusedMoEMethod.process_weights_after_loading",
        "pepo_rlhf.compat.vllm:packed_at_every_load",
        "on a CPU experts are packed at the first load alone: a reload puts unpacked weights in place of packed ones",
        "a reload packs them as well",
        cpu_only=True,
    ),
)


def register_all() -> None:
    """Let every row be applied right after the import of its module, in this process."""
    for patch in PATCHES:
        wrapt.register_post_import_hook(partial(_apply, patch), patch.module)


def _apply(patch: Patch, module: ModuleType) -> None:
    if patch.cpu_only:
        import torch  # has been imported: every module of a row that asks for this depends on it

        if torch.cuda.is_available():
            return
    *path, name = patch.name.split(".")
    owner: Any = module
    for part in path:
        owner = getattr(owner, part)
    make_module, make_name = patch.make.split(":")
    make: Callable[[Any], Any] = getattr(importlib.import_module(make_module), make_name)
    setattr(owner, name, make(getattr(owner, name)))

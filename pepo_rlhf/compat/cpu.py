"""OpenRLHF's hard-coded CUDA calls, pointed at the CPU where there is no CUDA device; and what else a CPU needs."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

# Of every process on a machine without a GPU, where nothing else is set.
ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB an engine
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait take the cores from those that work
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
# Of NVIDIA's driver, of AMD's, and of either under Windows.
_DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))


def machine_has_gpu() -> bool:
    """Of this machine, and not of this process, which Ray may hide the GPUs from; it loads nothing."""
    return any(path.exists() for path in _DEVICE_FILES)


def _adapt_torch(torch) -> None:
    """Upstream moves tensors to torch.cuda.current_device(), and calls set_device and synchronize, unconditionally."""
    if torch.cuda.is_available():
        return
    torch.cuda.current_device = lambda: "cpu"
    torch.cuda.set_device = lambda device: None
    torch.cuda.synchronize = lambda device=None: None


def _adapt_strategy(module) -> None:
    """Upstream builds its device mesh on "cuda" and moves the EMA update to the literal "cuda"."""
    import torch

    if torch.cuda.is_available():
        return
    init_device_mesh, moving_average = module.init_device_mesh, module.DeepspeedStrategy.moving_average
    module.init_device_mesh = lambda device, *args, **kwargs: init_device_mesh("cpu", *args, **kwargs)
    module.DeepspeedStrategy.moving_average = lambda self, model, model_ema, beta, device: moving_average(
        self, model, model_ema, beta, "cpu"
    )


def _adapt_replay_buffer(module) -> None:
    """Upstream's constructor builds torch.device("cuda:<current device>")."""
    import torch

    if torch.cuda.is_available():
        return
    init = module.NaiveReplayBuffer.__init__

    def init_on_cpu(self, *args, **kwargs):
        with mock.patch.object(torch.cuda, "current_device", lambda: 0):
            init(self, *args, **kwargs)
        self.target_device = torch.device("cpu")

    module.NaiveReplayBuffer.__init__ = init_on_cpu


def _adapt_collectives(module) -> None:
    """DeepSpeed compiles shared-memory collectives, a minute of two cores, which inference alone would call."""
    import torch

    if not torch.cuda.is_available():
        module.build_shm_op = lambda: None


def _adapt_gathering(module) -> None:
    """ZeRO-3 gathers several weights at once and waits for the last: gloo, with its threads, may end others later.

    Weights that were loaded meanwhile were then overwritten with what had been there before.
    """
    import torch

    if not torch.cuda.is_available():
        module.Init._allgather_params_coalesced = lambda self, params, hierarchy=0, quantize=False: (
            self._allgather_params_sequential(params, hierarchy)
        )


def _adapt_patch_embedding(module) -> None:
    """Qwen's patch embedding is a Conv3d whose kernel is its stride: a linear layer, and five times slower than one."""
    import torch

    if torch.cuda.is_available():
        return

    class PatchProjection(torch.nn.Conv3d):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(patches.flatten(1), self.weight.flatten(1))

    patch_embedding = module.Qwen2_5_VisionPatchEmbed
    initialise = patch_embedding.__init__

    def __init__(self, *args, **kwargs) -> None:
        initialise(self, *args, **kwargs)
        self.proj.__class__ = PatchProjection  # still a module that is called: ZeRO-3 gathers its weight then

    patch_embedding.__init__ = __init__


def engine_arguments() -> dict:
    """vLLM's settings that only a machine without a GPU needs; to be asked where the engine runs."""
    if machine_has_gpu():
        return {}
    # After part of a prompt vLLM 0.29 rewinds a seeded request's generator, which CPU generators cannot: it dies.
    return {"enable_chunked_prefill": False}


# Module -> what is done to it right after its import.
ADAPTATIONS = {
    "deepspeed.comm.torch": _adapt_collectives,
    "deepspeed.runtime.zero.partition_parameters": _adapt_gathering,
    "torch": _adapt_torch,
    "openrlhf.utils.deepspeed.deepspeed": _adapt_strategy,
    "openrlhf.trainer.ppo_utils.replay_buffer": _adapt_replay_buffer,
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl": _adapt_patch_embedding,
}

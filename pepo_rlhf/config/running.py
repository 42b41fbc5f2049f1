"""Sections that decide where and how a run executes: placement, batching, engines, checkpoints and logs.

The string under a field is its --help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pepo_rlhf.config.ranges import (
    ABOVE_0,
    ABOVE_0_OR_INFINITE,
    ABOVE_0_TO_1,
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    FROM_0_TO_1,
    FROM_0_TO_3,
    NEVER_OR_ABOVE_0,
    NEVER_OR_AT_LEAST_1,
    SEED,
    number,
)


@dataclass(kw_only=True)
class Run:
    """Run"""

    dir: str = "runs/pepo"
    """Folder of the run: checkpoints, model, TensorBoard logs and token records lie below it."""
    trust_remote_code: bool = False
    """Run Python code that comes with a model or tokenizer."""
    vision_check: bool = True
    """Before the first step, stop if log-probs do not depend on the image, or differ between policy and engine."""
    verbose: bool = False
    """Print what libraries and workers print, instead of writing it to files in <run.dir>/logs."""
    stall_timeout: float = number(1800.0, ABOVE_0)
    """Seconds that a phase (loading, generation, update, ...) may take; then the run names it and ends."""


@dataclass(kw_only=True)
class Reference:
    """Reference policy; there is none when algo.kl.init_coef is 0, and with adapters the policy is it without them"""

    num_nodes: int = number(1, AT_LEAST_1)
    """Nodes for the reference policy."""
    num_gpus_per_node: int = number(1, AT_LEAST_1)
    """GPUs a node for the reference policy."""
    offload: bool = False
    """Keep its weights in host memory."""
    separate: bool = False
    """Load a reference of its own even where the policy without its adapters is one."""


@dataclass(kw_only=True)
class Train:
    """Updates, placement and order of work"""

    batch_size: int = number(64, AT_LEAST_1)
    """Responses of one optimiser step, over all GPUs."""
    micro_batch_size: int = number(1, AT_LEAST_1)
    """Responses in one forward and backward pass on a GPU."""
    dynamic_batch_enable: bool = False
    """Fill micro batches by tokens instead of by responses."""
    max_tokens_per_gpu: int = number(16192, AT_LEAST_1)
    """Tokens of a micro batch with train.dynamic_batch_enable, before responses are padded to the longest of it."""
    num_episodes: int = number(1, AT_LEAST_1)
    """Passes over the prompts."""
    max_epochs: int = number(1, AT_LEAST_1)
    """Passes over each training batch."""
    single_pass: bool = False
    """Take signals, old log-probs and weights from the update's own forward pass, where a batch is one update."""
    skip_zero_advantages: bool = True
    """Leave responses whose gradient is exactly 0 out of the update: those of groups with equal rewards, and masked
    ones. Nothing is left out where a KL, an entropy or an auxiliary loss has a coefficient."""
    seed: int = number(42, SEED)
    """Random seed."""
    full_determinism_enable: bool = False
    """Deterministic kernels: reproducible, and slower."""
    colocate_all: bool = False
    """Policy, reference and vLLM share GPUs; with train.async_enable, policy and reference only."""
    colocate_actor_ref: bool = False
    """Policy and reference share GPUs."""
    async_enable: bool = False
    """Generate the next batch while one is trained on, with weights that are one sync older."""
    async_queue_size: int = number(1, AT_LEAST_1)
    """Batches that are generated ahead with train.async_enable; 1 is all that is offered."""
    enable_ema: bool = False
    """Keep and save a moving average of the weights."""
    ema_beta: float = number(0.992, FROM_0_TO_1)
    """Decay of the moving average."""


@dataclass(kw_only=True)
class Vllm:
    """vLLM engines, which generate the responses"""

    num_engines: int = number(1, AT_LEAST_1)
    """Number of engines."""
    tensor_parallel_size: int = number(1, AT_LEAST_1)
    """GPUs of one engine."""
    gpu_memory_utilization: float = number(0.95, ABOVE_0_TO_1)
    """Share of a GPU's memory that an engine takes; lower it when GPUs are shared."""
    enable_prefix_caching: bool = True
    """Compute a prompt once for all of its responses."""
    enforce_eager: bool = False
    """Run without CUDA graphs."""
    enable_sleep: bool = False
    """Give the memory back during updates; needs train.colocate_all."""
    sync_backend: Literal["nccl", "gloo"] = "nccl"
    """Transport of new weights to the engines."""
    max_restarts: int = number(3, AT_LEAST_0)
    """Times that each engine is started again after its death, before the run ends."""
    packed_weight_transfer: bool = False
    """Send new weights in large buffers by vLLM's own transfer engine instead of one by one; needs CUDA and GPUs of the
    engines' own."""


@dataclass(kw_only=True)
class Lora:
    """Low-rank adapters (LoRA): the policy's weights are frozen, and engines get weights merged with the adapters"""

    rank: int = number(0, AT_LEAST_0)
    """Rank; 0 trains the weights themselves."""
    alpha: int = number(16, AT_LEAST_1)
    """Scale of the adapters, divided by the rank."""
    target_modules: list[str] | str = "all-linear"
    """What gets an adapter: all-linear, every linear layer of the language model; or names of layers or of modules
    around them, such as q_proj v_proj. Vision tower and projector: by names that the language model does not have."""
    dropout: float = number(0.0, BELOW_1)
    """Dropout before the adapters."""


@dataclass(kw_only=True)
class DeepSpeed:
    """DeepSpeed engines, which hold policy and reference"""

    zero_stage: int = number(2, FROM_0_TO_3)
    """ZeRO stage: what is partitioned over GPUs."""
    param_dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Data type of the weights, in trainer and engine. fp32 is for CPUs, most of which are slow at the others."""
    attn_implementation: str = "auto"
    """Attention in transformers: auto is flash_attention_2 on CUDA with flash-attn 2 installed, and sdpa otherwise; or
    eager, sdpa, flash_attention_2, 3 or 4, flex_attention, or a kernel of the hub with run.trust_remote_code."""
    experts_implementation: Literal["eager", "batched_mm", "grouped_mm", "deepgemm"] | None = None
    """Computation of a mixture of experts in transformers; None leaves the choice to it."""
    tensor_parallel_size: int = number(1, AT_LEAST_1)
    """GPUs that one copy of the policy is split over; 1 is all that rollout engines can take."""
    adam_offload: bool = False
    """Keep the optimiser's states in host memory."""
    enable_sleep: bool = False
    """Give the memory back during generation; needs train.colocate_all."""
    zpg: int = number(1, AT_LEAST_1)
    """ZeRO++ partition size within a node."""
    overlap_comm: bool = False
    """Communicate gradients during the backward pass."""
    grad_accum_dtype: Literal["bf16", "fp16", "fp32"] | None = None
    """Data type that gradients are summed in."""
    deepcompile: bool = False
    """Compile with DeepCompile."""
    load_in_4bit: bool = False
    """Load the weights in 4 bits."""
    use_universal_ckpt: bool = False
    """Resume from a universal checkpoint, written on another number of GPUs."""
    lora: Lora = field(default_factory=Lora)


@dataclass(kw_only=True)
class Checkpoint:
    """Checkpoints, in <run.dir>/checkpoints"""

    save_steps: int = number(-1, NEVER_OR_AT_LEAST_1)
    """Write a checkpoint every so many steps; -1 never does."""
    save_minutes: float = number(10.0, NEVER_OR_ABOVE_0)
    """Write a checkpoint when so many minutes, and 20 times what one takes, have passed since the last; -1 never does.
    It is left out, with a warning, while the disk has no room for it."""
    resume: Literal["auto", "never", "must"] = "auto"
    """Go on from the newest whole checkpoint: auto if there is one, must or stop, never (needs a new run.dir)."""
    save_hf: bool = False
    """Save in Hugging Face format too, with adapters merged."""
    save_merged: bool = False
    """At the end merge the adapters into a model in Hugging Face format, <run.dir>/model, beside <run.dir>/adapter."""
    disable_ds: bool = False
    """Save without DeepSpeed's states: smaller, and nothing to resume from."""
    max_num: int = number(3, AT_LEAST_1)
    """Newest checkpoints to keep; the best one counts apart."""
    max_mem: float = number(float("inf"), ABOVE_0_OR_INFINITE)
    """Gigabytes of checkpoints to keep at most."""
    best_metric_key: str = ""
    """Evaluation metric of the best checkpoint; empty takes the first pass@1, none keeps no best one."""


@dataclass(kw_only=True)
class Wandb:
    """Weights & Biases; the key comes from the environment variable WANDB_API_KEY"""

    enable: bool = False
    """Log to Weights & Biases."""
    org: str | None = None
    """Entity."""
    group: str | None = None
    """Group."""
    project: str = "openrlhf_train_ppo"
    """Project."""
    run_name: str | None = None
    """Name of the run, in every tracker; None is the last part of run.dir."""


@dataclass(kw_only=True)
class Trackio:
    """trackio, a local tracker with wandb's interface; pip install trackio"""

    enable: bool = False
    """Log to trackio."""
    project: str = "pepo_rlhf"
    """Project."""


@dataclass(kw_only=True)
class Logger:
    """Metrics, in <run.dir>/tensorboard, and token records, in <run.dir>/tokens"""

    logging_steps: int = number(1, AT_LEAST_1)
    """Log every so many steps."""
    tokens_every: int = number(10, AT_LEAST_0)
    """Write token records of the first step and of every so many; 0 writes none."""
    tokens_max_rows: int = number(64, AT_LEAST_0)
    """Responses of a step's token records at most, in whole groups."""
    wandb: Wandb = field(default_factory=Wandb)
    trackio: Trackio = field(default_factory=Trackio)

"""All settings of a run. Sections come from learning.py (what is learnt) and running.py (where and how it runs)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pepo_rlhf.config.learning import Actor, Algorithm, Data, Evaluation, Pepo, Reward, Rollout
from pepo_rlhf.config.running import Checkpoint, DeepSpeed, Logger, Reference, Run, Train, Vllm


@dataclass(kw_only=True)
class Config:
    """Settings of one run; a section's field `name` is the flag `--section.name`."""

    pepo: Pepo = field(default_factory=Pepo)
    run: Run = field(default_factory=Run)
    data: Data = field(default_factory=Data)
    reward: Reward = field(default_factory=Reward)
    rollout: Rollout = field(default_factory=Rollout)
    algo: Algorithm = field(default_factory=Algorithm)
    actor: Actor = field(default_factory=Actor)
    ref: Reference = field(default_factory=Reference)
    train: Train = field(default_factory=Train)
    eval: Evaluation = field(default_factory=Evaluation)
    vllm: Vllm = field(default_factory=Vllm)
    ds: DeepSpeed = field(default_factory=DeepSpeed)
    ckpt: Checkpoint = field(default_factory=Checkpoint)
    logger: Logger = field(default_factory=Logger)

    @property
    def run_dir(self) -> Path:
        """Return the run folder as an absolute path: Ray workers may have another working directory."""
        return Path(self.run.dir).absolute()

    @property
    def checkpoints_dir(self) -> Path:
        """Return the folder that holds the checkpoints."""
        return self.run_dir / "checkpoints"

    @property
    def model_dir(self) -> Path:
        """Return the folder that the trained model is saved to."""
        return self.run_dir / "model"

    @property
    def adapter_dir(self) -> Path:
        """Return the folder that the trained adapters are saved to."""
        return self.run_dir / "adapter"

    @property
    def logs_dir(self) -> Path:
        """Return the folder of what the processes of the run print."""
        return self.run_dir / "logs"

    @property
    def tensorboard_dir(self) -> Path:
        """Return the folder of TensorBoard's files."""
        return self.run_dir / "tensorboard"

    @property
    def run_name(self) -> str:
        """Return the run's name in every tracker."""
        return self.logger.wandb.run_name or self.run_dir.resolve().name

    @property
    def num_responses(self) -> int:
        """Return the responses of one training batch."""
        return self.rollout.batch_size * self.rollout.n_samples_per_prompt

    @property
    def num_policy_ranks(self) -> int:
        """Return the data-parallel ranks of the policy."""
        return self.actor.num_nodes * self.actor.num_gpus_per_node

    @property
    def has_reference(self) -> bool:
        """Return whether a reference policy is needed, for a KL in the loss or in the reward."""
        return self.algo.kl.init_coef > 0

    @property
    def dtype_name(self) -> str:
        """Return the name that torch and vLLM have for --ds.param_dtype."""
        return {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[self.ds.param_dtype]

    @property
    def has_adapters(self) -> bool:
        """Return whether LoRA adapters are trained instead of the weights."""
        return self.ds.lora.rank > 0

    @property
    def num_reference_ranks(self) -> int:
        """Return the ranks of the reference's own workers; 0 where the policy without its adapters is the reference."""
        is_placed = self.has_reference and (self.ref.separate or not self.has_adapters)
        return self.ref.num_nodes * self.ref.num_gpus_per_node if is_placed else 0

    @property
    def shares_all_gpus(self) -> bool:
        """Return whether policy, reference and rollout engines are on the same GPUs."""
        return self.train.colocate_all and not self.train.async_enable

"""All settings of a run. Sections come from learning.py (what is learnt) and running.py (where and how it runs)."""

from __future__ import annotations

from dataclasses import dataclass, field

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

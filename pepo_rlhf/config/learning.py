"""Sections that decide what is learnt: method, data, rewards, rollouts, algorithm, policy and evaluation.

The string under a field is its --help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pepo_rlhf.config.ranges import (
    ABOVE_0,
    ABOVE_0_TO_1,
    ABOVE_0_TO_2,
    ABOVE_1,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_MOST_1,
    BELOW_1,
    FINITE,
    FROM_0_TO_1,
    FROM_0_TO_2,
    NEVER_OR_AT_LEAST_1,
    NOT_0,
    number,
)


@dataclass(kw_only=True)
class Pepo:
    """PEPO: how a response's advantage is spread over its tokens"""

    method: str = "pepo"
    """Token weighting: the name of a file in pepo_rlhf/core/weighting, such as pepo or uniform (plain GRPO or DAPO), or
    path/to/file.py:ClassName for one of your own."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the weighting, one by one as --pepo.settings.alpha 0.1; the Settings class in the weighting's file
    says which there are. --pepo.alpha, --pepo.temperature and --pepo.top_fraction are short for --pepo.settings.*."""
    schedule: Literal["linear", "constant"] = "linear"
    """Share of the token weights in the advantage: linear grows it from 0 to 1 over the run, constant keeps 1."""
    no_image: Literal["uniform", "sequence", "error"] = "uniform"
    """Rows without an image: uniform weighs every token 1, sequence compares with every position, error stops."""
    similarity: Literal["cosine", "dot", "l2", "l1"] = "cosine"
    """Similarity of hidden states. Scales differ, so a temperature does not carry over from one to another."""
    perturbation: Literal["blank", "patches", "noise", "swapped"] = "blank"
    """What methods that ask for image dependence put in place of the image: blank, mid grey; patches, some of its 14 x
    14 pixels black; noise; swapped, another row's, resized."""
    perturbation_ratio: float = number(0.5, ABOVE_0_TO_1)
    """Share of the patches that are black under pepo.perturbation patches."""
    num_layers: int | None = number(None, NOT_0)
    """Hidden states that similarity averages over: the first so many, the embeddings' output being one; a negative
    number counts from the last; None takes all."""


@dataclass(kw_only=True)
class Data:
    """Training data"""

    prompt_dataset: str | None = None
    """Training dataset: a Hugging Face name or a path. Required."""
    prompt_split: str = "train"
    """Split of the training dataset."""
    task: str | None = None
    """Task whose adapter reads training and evaluation rows from a data set as it was published: a name, or
    path/to/folder:Task. Its verifiers and format are then the default of reward.functions. None reads plain columns."""
    max_samples: int = number(int(1e8), AT_LEAST_1)
    """Rows to use at most."""
    max_len: int = number(2048, AT_LEAST_1)
    """Longest sequence in tokens: prompt, image tokens and response together."""
    instruction: str | None = None
    """Text after each problem that does not ask for <answer> itself, or a file that holds it; empty adds none. None is
    a sentence that asks for reasoning in <think> and the answer in <answer>."""
    system_prompt: str | None = None
    """System message of rows that bring none, or a file that holds it; None leaves it to the chat template."""
    max_images_per_prompt: int = number(1, AT_LEAST_0)
    """Images that a prompt may hold at most; 0 is text only."""
    min_pixels: int | None = number(None, AT_LEAST_1)
    """Smaller images are enlarged to so many pixels, by trainer and engine alike; None is the model's own limit."""
    max_pixels: int | None = number(None, AT_LEAST_1)
    """Larger images are shrunk to so many pixels, by trainer and engine alike; None is the model's own limit."""
    fetch_urls: bool = False
    """Download images that rows name by URL, once, while the rows are loaded."""
    image_root: str | None = None
    """Folder that image files of rows must lie in, links resolved; None is the data set's own."""
    on_bad_row: Literal["error", "skip"] = "error"
    """A row that cannot be trained on: error stops, skip leaves it out and counts it in rows_skipped."""


@dataclass(kw_only=True)
class Reward:
    """Rewards"""

    functions: list[str] = field(default_factory=lambda: ["format", "accuracy"])
    """Verifiers, summed: names of built-in ones, or path.py:function. Each is a component of the reward."""
    weights: dict[str, float] = field(default_factory=dict)
    """Factor of a component in the sum, by its name; 1 if it is not named. 0 logs the component and no more."""
    num_processes: int = number(2, AT_LEAST_1)
    """Processes that run the verifiers, for each vLLM engine."""
    timeout_seconds: float = number(10.0, ABOVE_0)
    """Longest time that the verifiers may take for one response; more is a grader error."""
    memory_mb: int = number(1024, AT_LEAST_1)
    """MiB that they may allocate in a process, on top of what their files load; more is a grader error."""
    allow_network: bool = False
    """Let the verifiers use the network, as a judge behind an API needs it."""
    max_error_rate: float = number(0.05, FROM_0_TO_1)
    """Share of a batch's responses with grader errors (also exceptions and crashes) above which the run stops."""
    clip_range: tuple[float, float] = (-10.0, 10.0)
    """Range that the reward is clipped to."""
    overlong_buffer_len: float | None = number(None, AT_LEAST_0)
    """Length penalty over the last so many tokens before rollout.max_new_tokens (DAPO); None turns it off."""
    overlong_penalty_factor: float = number(1.0, AT_LEAST_0)
    """Largest length penalty."""
    stop_properly_penalty_coef: float | None = number(None, AT_MOST_1)
    """Truncated responses: a factor in [0, 1] on the reward, or the reward itself if negative; None leaves it."""


@dataclass(kw_only=True)
class Rollout:
    """Generation of responses during training"""

    batch_size: int = number(8, AT_LEAST_1)
    """Prompts of one training batch."""
    n_samples_per_prompt: int = number(8, AT_LEAST_1)
    """Responses to each prompt: the group."""
    micro_batch_size: int = number(1, AT_LEAST_1)
    """Responses in one forward pass for log-probabilities and scores."""
    max_tokens_per_gpu: int | None = number(None, AT_LEAST_1)
    """Tokens in one such forward pass with train.dynamic_batch_enable; None is train.max_tokens_per_gpu."""
    max_new_tokens: int | None = number(None, AT_LEAST_1)
    """Longest response in tokens; None is whatever the prompt leaves of data.max_len."""
    temperature: float = number(1.0, ABOVE_0_TO_2)
    """Sampling temperature, also applied to log-probabilities and entropy."""
    top_p: float = number(1.0, ABOVE_0_TO_1)
    """Nucleus sampling threshold."""
    top_k: int = number(0, AT_LEAST_0)
    """Sample from the so many most probable tokens, in evaluation too; 0 samples from all. The trainer's log-probs stay
    those of all tokens."""


@dataclass(kw_only=True)
class Advantage:
    """Advantage of a response"""

    estimator: Literal["reinforce", "rloo", "reinforce_baseline", "group_norm", "dr_grpo", "flash_reinforce"] = (
        "group_norm"
    )
    """Advantage estimator; group_norm is GRPO's."""
    std_epsilon: float = number(1e-9, AT_LEAST_0)
    """Added to a group's standard deviation, which group_norm divides by. The authors' code adds 1e-4."""
    no_std_norm: bool = False
    """Do not divide by the batch's standard deviation (reinforce, reinforce_baseline)."""
    is_correction_level: Literal["off", "token", "seq"] = "off"
    """Correction for the gap between vLLM and trainer: off, for each token, or for the mean over a response."""
    is_correction_mode: Literal["mask", "clip"] = "mask"
    """Outside the thresholds: mask drops the token or response, clip clamps the ratio."""
    is_correction_gating: Literal["ratio", "binary_kl", "tv"] = "ratio"
    """What the thresholds bound: the ratio trainer / vLLM, or a divergence between the two."""
    is_correction_threshold: list[float] = field(default_factory=lambda: [0.5, 5.0])
    """LOW HIGH, or HIGH alone."""


@dataclass(kw_only=True)
class KL:
    """Distance to the reference policy"""

    init_coef: float = number(0.001, AT_LEAST_0)
    """KL coefficient; 0 runs without a reference model."""
    use_loss: bool = True
    """KL in the loss rather than in the reward; token weights need it in the loss."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """KL estimator; k2 or k3 suit the loss, k1 the reward."""
    unbiased_gradient: bool = False
    """As a loss: the exact reverse-KL gradient, whatever the estimator, by importance sampling."""


@dataclass(kw_only=True)
class Algorithm:
    """Policy gradient"""

    advantage: Advantage = field(default_factory=Advantage)
    kl: KL = field(default_factory=KL)
    dynamic_filtering_enable: bool = False
    """Drop groups whose rewards are all equal and generate others instead (DAPO's dynamic sampling)."""
    dynamic_filtering_max_resamples: int = number(3, AT_LEAST_0)
    """Rounds of other prompts a batch may take; then dropped groups, whose advantage is 0, fill it up."""
    dynamic_filtering_refill: Literal["epoch", "cycle"] = "epoch"
    """Where other prompts come from: epoch takes the next ones of the episode, which then ends after fewer updates;
    cycle takes whole batches of a second, endless order of the prompts, and all planned updates are made."""
    overlong_filtering_enable: bool = False
    """Responses cut off at the length limit count in their group's statistics and carry no loss (DAPO)."""


@dataclass(kw_only=True)
class Adam:
    """AdamW; with actor.optim muon, the parameters that Muon leaves"""

    lr: float = number(1e-6, ABOVE_0)
    """Learning rate."""
    betas: tuple[float, float] = number((0.9, 0.95), BELOW_1)
    """Decay rates of the two moments."""
    eps: float = number(1e-8, AT_LEAST_0)
    """Added to the denominator."""
    weight_decay: float = number(0.0, AT_LEAST_0)
    """Weight decay. The released recipe uses 0.1."""


@dataclass(kw_only=True)
class Muon:
    """Muon; read with actor.optim muon"""

    lr: float = number(0.02, ABOVE_0)
    """Learning rate of the weight matrices."""
    momentum: float = number(0.95, BELOW_1)
    """Momentum."""


@dataclass(kw_only=True)
class Actor:
    """Policy: the model, its loss, optimiser and GPUs"""

    model_name_or_path: str | None = None
    """Vision-language model: a Hugging Face name or a path. Required."""
    num_nodes: int = number(1, AT_LEAST_1)
    """Nodes that train the policy."""
    num_gpus_per_node: int = number(1, AT_LEAST_1)
    """GPUs a node that train the policy."""
    freeze_visual_encoder: bool = True
    """Train the language model only."""
    gradient_checkpointing_enable: bool = False
    """Recompute activations in the backward pass: slower, and less memory."""
    gradient_checkpointing_reentrant: bool = False
    """PyTorch's reentrant form of it."""
    policy_loss_type: Literal["ppo", "gspo"] = "ppo"
    """Ratio for each token (ppo) or for a whole response (gspo)."""
    loss_agg_mode: Literal["token-mean", "seq-mean-token-mean"] = "token-mean"
    """Mean over all tokens of an update (DAPO), or over responses of their token means (GRPO)."""
    eps_clip: float = number(0.2, ABOVE_0)
    """Clip range of the ratio, below and above 1."""
    eps_clip_low_high: tuple[float, float] | None = number(None, AT_LEAST_0)
    """Clip range with two sides of its own, as in clip-higher; None is actor.eps_clip twice."""
    dual_clip: float | None = number(None, ABOVE_1)
    """Second bound for negative advantages, above 1; None turns it off."""
    entropy_coef: float | None = number(None, FINITE)
    """Entropy bonus in the loss; 0 logs entropy only, None computes none in the update."""
    aux_loss_coef: float = number(0.0, FINITE)
    """Coefficient of a mixture of experts' balancing loss."""
    optim: Literal["adam", "muon"] = "adam"
    """Optimiser."""
    adam: Adam = field(default_factory=Adam)
    muon: Muon = field(default_factory=Muon)
    lr_scheduler: Literal[
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "cosine",
        "cosine_with_restarts",
        "linear",
        "polynomial",
        "inverse_sqrt",
        "constant",
        "constant_with_warmup",
    ] = "cosine_with_min_lr"
    """Learning rate schedule, by its transformers name; those that need no arguments of their own."""
    lr_warmup_ratio: float = number(0.03, FROM_0_TO_1)
    """Share of the steps that warm up."""
    min_lr_ratio: float = number(0.1, FROM_0_TO_1)
    """Lowest learning rate as a share of the highest (cosine_with_min_lr)."""
    max_norm: float = number(1.0, AT_LEAST_0)
    """Gradient norm that is clipped to; 0 turns clipping off."""


@dataclass(kw_only=True)
class Evaluation:
    """Evaluation during training"""

    dataset: str | None = None
    """Evaluation dataset: a Hugging Face name or a path."""
    split: str = "train"
    """Split of the evaluation dataset."""
    steps: int = number(-1, NEVER_OR_AT_LEAST_1)
    """Evaluate every so many steps; -1 never does."""
    temperature: float = number(0.6, FROM_0_TO_2)
    """Sampling temperature of evaluation; 0 is greedy."""
    n_samples_per_prompt: int = number(4, AT_LEAST_1)
    """Responses to each evaluation prompt."""

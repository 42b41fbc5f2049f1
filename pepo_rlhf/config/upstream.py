"""Where the settings depart from OpenRLHF 0.11.2's flags, and why. Every flag named nowhere here is upstream's own."""

from __future__ import annotations

from typing import Any

# flag -> reason
CHANGED_DEFAULTS: dict[str, str] = {
    "algo.advantage.estimator": "PEPO spreads a group's advantage; gae needs a critic, refused for VLMs",
    "algo.kl.use_loss": "token weights belong on the policy gradient, not on a KL that sits in the reward",
    "algo.kl.estimator": "k3 is the estimator for KL as a loss",
    "algo.kl.init_coef": "the released recipe",
    "rollout.n_samples_per_prompt": "a group needs several responses; the released recipe samples 8",
    "rollout.batch_size": "8 prompts of 8 samples are one update, the released recipe",
    "train.batch_size": "8 prompts of 8 samples are one update, the released recipe",
    "actor.freeze_visual_encoder": "the released recipe trains the language model only",
    "actor.num_gpus_per_node": "the defaults fit one GPU box and a laptop",
    "ref.num_gpus_per_node": "the defaults fit one GPU box and a laptop",
    "vllm.num_engines": "generation always goes through vLLM",
    "vllm.enable_prefix_caching": "the samples of a group share a prompt; caches are reset at every weight sync",
    "ds.attn_implementation": "auto: flash_attention_2 where it can run, sdpa elsewhere",
    "data.max_images_per_prompt": "prompts hold an image",
    "logger.wandb.run_name": "named after run.dir instead of the time of day",
}

_NO_CRITIC = "the advantage comes from a group, and a critic is refused for vision-language models"
_NO_REWARD_MODEL = "rewards come from the verifiers in --reward.functions"
_ROWS = "rows and their keys come from the dataset adapters"
_RUN_DIR = "lies under --run.dir"
_NO_PACKING = "packing is refused for vision-language models"
_NO_RING = "ring attention needs packing, which is refused for vision-language models"
_PLACEHOLDER = "DeepSpeed ignores it"
_NO_PARTIAL_ROLLOUT = "every weight sync drains the engines, so that none keeps image embeddings of old weights"
_NO_ADAPTIVE_KL = "upstream's adaptive KL controller does not work with its trainer; set --algo.kl.init_coef"

# flag or section -> reason
DROPPED: dict[str, str] = {
    "critic": _NO_CRITIC,
    "ds.value_head_prefix": _NO_CRITIC,
    "train.colocate_critic_reward": _NO_CRITIC,
    "algo.advantage.lambd": _NO_CRITIC,
    "algo.advantage.gamma": "every token of a response shares one reward; any other value tilts it by position",
    "reward.model_name_or_path": _NO_REWARD_MODEL,
    "reward.num_nodes": _NO_REWARD_MODEL,
    "reward.num_gpus_per_node": _NO_REWARD_MODEL,
    "reward.offload": _NO_REWARD_MODEL,
    "reward.normalize_enable": _NO_REWARD_MODEL,
    "reward.remote_url": _NO_REWARD_MODEL,
    "train.agent_func_path": _NO_REWARD_MODEL,
    "data.input_key": _ROWS,
    "data.label_key": _ROWS,
    "data.image_key": _ROWS,
    "data.input_template": _ROWS,
    "data.prompt_probs": _ROWS,
    "data.apply_chat_template": "the model's chat template is always applied",
    "data.disable_fast_tokenizer": "the processor brings its tokenizer",
    "ckpt.load_enable": "--ckpt.resume auto, never or must replaces it",
    "ckpt.path": _RUN_DIR,
    "ckpt.output_dir": _RUN_DIR,
    "logger.tensorboard_dir": _RUN_DIR,
    # Never set: metrics/trackers.py starts wandb, with the key from the environment.
    "logger.wandb.key": "a secret: set the environment variable WANDB_API_KEY and --logger.wandb.enable",
    "ds.packing_samples": _NO_PACKING,
    "ds.ring_attn_size": _NO_RING,
    "ds.ring_attn_head_stride": _NO_RING,
    "ds.use_liger_kernel": "upstream refuses it for vision-language models",
    "train.partial_rollout_enable": _NO_PARTIAL_ROLLOUT,
    "algo.dynamic_filtering_range": "--algo.dynamic_filtering_enable drops the groups of zero spread",
    "algo.kl.target": _NO_ADAPTIVE_KL,
    "algo.kl.horizon": _NO_ADAPTIVE_KL,
    "actor.muon.ns_steps": _PLACEHOLDER,
    "actor.muon.nesterov": _PLACEHOLDER,
    "actor.muon.no_nesterov": _PLACEHOLDER,
    "data.dataloader_num_workers": "rows are in memory: no process loads them",
    "rollout.vllm_generate_batch_size": "one batch is generated at a time: weights stay at most one sync old",
    "vllm.sync_with_ray": "weights travel over --vllm.sync_backend",
    "local_rank": "Ray places the workers",
    "use_ms": "models come from Hugging Face or from a path",
}

# Values at which upstream's workers still read some of these flags; arguments.py derives those of ckpt.
READ_BY_WORKERS: dict[str, Any] = {
    "ckpt.load_enable": False,
    "data.disable_fast_tokenizer": False,
    "ds.packing_samples": False,
    "ds.ring_attn_head_stride": 1,
    "ds.ring_attn_size": 1,
    "ds.use_liger_kernel": False,
    "local_rank": -1,
    "vllm.sync_with_ray": False,
}

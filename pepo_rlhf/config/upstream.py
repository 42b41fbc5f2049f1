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

# flag -> (value that upstream's code still reads, reason). None also stands where arguments.py derives the value.
DROPPED: dict[str, tuple[Any, str]] = {
    "critic.model_name_or_path": (None, _NO_CRITIC),
    "critic.num_nodes": (1, _NO_CRITIC),
    "critic.num_gpus_per_node": (8, _NO_CRITIC),
    "critic.freezing_steps": (-1, _NO_CRITIC),
    "critic.save_value_network": (False, _NO_CRITIC),
    "critic.value_clip": (0.5, _NO_CRITIC),
    "critic.optim": ("adam", _NO_CRITIC),
    "critic.adam.lr": (9e-6, _NO_CRITIC),
    "critic.adam.betas": ((0.9, 0.95), _NO_CRITIC),
    "critic.adam.eps": (1e-8, _NO_CRITIC),
    "critic.adam.weight_decay": (0.0, _NO_CRITIC),
    "critic.muon.lr": (0.02, _NO_CRITIC),
    "critic.muon.momentum": (0.95, _NO_CRITIC),
    "critic.muon.ns_steps": (5, _NO_CRITIC),
    "critic.muon.nesterov": (True, _NO_CRITIC),
    "critic.muon.no_nesterov": (False, _NO_CRITIC),
    "critic.lr_scheduler": ("cosine_with_min_lr", _NO_CRITIC),
    "critic.lr_warmup_ratio": (0.03, _NO_CRITIC),
    "critic.min_lr_ratio": (0.1, _NO_CRITIC),
    "critic.max_norm": (1.0, _NO_CRITIC),
    "ds.value_head_prefix": ("score", _NO_CRITIC),
    "train.colocate_critic_reward": (False, _NO_CRITIC),
    "algo.advantage.lambd": (1.0, _NO_CRITIC),
    "algo.advantage.gamma": (1.0, "every token of a response shares one reward; any other value tilts it by position"),
    "reward.model_name_or_path": (None, _NO_REWARD_MODEL),
    "reward.num_nodes": (1, _NO_REWARD_MODEL),
    "reward.num_gpus_per_node": (8, _NO_REWARD_MODEL),
    "reward.offload": (False, _NO_REWARD_MODEL),
    "reward.normalize_enable": (False, _NO_REWARD_MODEL),
    "reward.remote_url": (None, _NO_REWARD_MODEL),
    "train.agent_func_path": (None, _NO_REWARD_MODEL),
    "data.input_key": ("input", _ROWS),
    "data.label_key": (None, _ROWS),
    "data.image_key": ("images", _ROWS),
    "data.input_template": (None, _ROWS),
    "data.prompt_probs": (None, _ROWS),
    "data.apply_chat_template": (True, "the model's chat template is always applied"),
    "data.disable_fast_tokenizer": (False, "the processor brings its tokenizer"),
    "ckpt.load_enable": (False, "--ckpt.resume auto, never or must replaces it"),
    "ckpt.path": (None, _RUN_DIR),
    "ckpt.output_dir": (None, _RUN_DIR),
    "logger.tensorboard_dir": (None, _RUN_DIR),
    # Never set: metrics/trackers.py starts wandb, with the key from the environment.
    "logger.wandb.key": (None, "a secret: set the environment variable WANDB_API_KEY and --logger.wandb.enable"),
    "ds.packing_samples": (False, _NO_PACKING),
    "ds.ring_attn_size": (1, _NO_RING),
    "ds.ring_attn_head_stride": (1, _NO_RING),
    "ds.use_liger_kernel": (False, "upstream refuses it for vision-language models"),
    "train.partial_rollout_enable": (False, _NO_PARTIAL_ROLLOUT),
    "algo.dynamic_filtering_range": ((0, 1), "--algo.dynamic_filtering_enable drops the groups of zero spread"),
    "algo.kl.target": (None, _NO_ADAPTIVE_KL),
    "algo.kl.horizon": (10000, _NO_ADAPTIVE_KL),
    "actor.muon.ns_steps": (5, _PLACEHOLDER),
    "actor.muon.nesterov": (True, _PLACEHOLDER),
    "actor.muon.no_nesterov": (False, _PLACEHOLDER),
    "data.dataloader_num_workers": (0, "rows are in memory: no process loads them"),
    "rollout.vllm_generate_batch_size": (
        None,
        "one batch is generated at a time: weights stay at most one sync old",
    ),
    "vllm.sync_with_ray": (False, "weights travel over --vllm.sync_backend"),
    "local_rank": (-1, "Ray places the workers"),
    "use_ms": (False, "models come from Hugging Face or from a path"),
}

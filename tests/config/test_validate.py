from __future__ import annotations

import sys
from functools import reduce
from typing import Any

import pytest

from pepo_rlhf.config import Config, ConfigError, validate
from pepo_rlhf.config.validate import GROUP_ESTIMATORS, RULES


def change(config: Config, changes: dict[str, Any]) -> None:
    for flag, value in changes.items():
        *sections, name = flag.split(".")
        section = reduce(getattr, sections, config)
        assert hasattr(section, name), flag
        setattr(section, name, value)


# rule, changes to a valid configuration that break just this rule, a flag that the message must name
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("reward_range_is_a_range", {"reward.clip_range": (1.0, -1.0)}, "--reward.clip_range"),
    ("adapters_combine", {"ds.lora.rank": 8, "train.enable_ema": True}, "--train.enable_ema does not go with adapters"),
    ("adapters_combine", {"ds.lora.rank": 8, "ds.load_in_4bit": True}, "--ds.load_in_4bit does not go with adapters"),
    ("adapters_combine", {"ds.lora.rank": 8, "ds.use_universal_ckpt": True}, "--ds.use_universal_ckpt does not go"),
    (
        "adapters_combine",
        {"ds.lora.rank": 8, "actor.freeze_visual_encoder": False},
        "vision tower in --ds.lora.target_modules",
    ),
    ("adapters_combine", {"ckpt.save_merged": True}, "--ckpt.save_merged merges adapters, and there are none"),
    ("adapters_combine", {"ds.lora.rank": 8, "ds.lora.target_modules": []}, "--ds.lora.target_modules is empty"),
    ("one_pass_is_enough", {"train.single_pass": True, "train.batch_size": 32}, "--train.batch_size 32"),
    ("one_pass_is_enough", {"train.single_pass": True, "train.max_epochs": 2}, "--train.max_epochs 2"),
    (
        "one_pass_is_enough",
        {"train.single_pass": True, "algo.kl.use_loss": False, "pepo.method": "uniform"},
        "set --algo.kl.use_loss",
    ),
    (
        "one_pass_is_enough",
        {"train.single_pass": True, "ds.lora.rank": 8, "ds.lora.dropout": 0.1},
        "--ds.lora.dropout changes",
    ),
    ("weights_reach_the_engines", {"ds.tensor_parallel_size": 2}, "--ds.zero_stage 3"),
    (
        "packed_transfer_is_possible",
        {"vllm.packed_weight_transfer": True, "train.colocate_all": True},
        "--vllm.packed_weight_transfer",
    ),
    ("values_in_range", {"rollout.temperature": 0.0}, "--rollout.temperature"),
    ("values_in_range", {"rollout.temperature": 2.1}, "--rollout.temperature"),
    ("values_in_range", {"eval.temperature": 2.1}, "--eval.temperature"),
    ("values_in_range", {"rollout.top_p": 0.0}, "--rollout.top_p"),
    ("values_in_range", {"actor.adam.lr": 0.0}, "--actor.adam.lr"),
    ("values_in_range", {"actor.adam.lr": float("inf")}, "--actor.adam.lr"),
    ("values_in_range", {"actor.entropy_coef": float("inf")}, "--actor.entropy_coef"),
    ("values_in_range", {"reward.overlong_penalty_factor": -1.0}, "--reward.overlong_penalty_factor"),
    ("values_in_range", {"train.seed": 2**31}, "--train.seed"),
    ("values_in_range", {"ds.zero_stage": 4}, "--ds.zero_stage"),
    ("values_in_range", {"ds.lora.rank": -1}, "--ds.lora.rank"),
    ("values_in_range", {"ds.lora.dropout": 1.0}, "--ds.lora.dropout"),
    ("values_in_range", {"ckpt.max_mem": float("nan")}, "--ckpt.max_mem"),
    ("values_in_range", {"reward.weights": {"accuracy": float("nan")}}, "--reward.weights.accuracy"),
    ("values_in_range", {"ds.zpg": 2**63}, "--ds.zpg"),
    ("values_in_range", {"actor.dual_clip": 1.0}, "--actor.dual_clip"),
    ("values_in_range", {"vllm.num_engines": 0}, "--vllm.num_engines"),
    ("values_in_range", {"eval.steps": 0}, "--eval.steps"),
    ("values_in_range", {"ckpt.save_steps": -2}, "--ckpt.save_steps"),
    ("values_in_range", {"reward.stop_properly_penalty_coef": 1.5}, "--reward.stop_properly_penalty_coef"),
    ("values_in_range", {"reward.timeout_seconds": 0.0}, "--reward.timeout_seconds"),
    ("values_in_range", {"reward.memory_mb": 0}, "--reward.memory_mb"),
    ("values_in_range", {"reward.num_processes": 0}, "--reward.num_processes"),
    ("values_in_range", {"reward.max_error_rate": 1.1}, "--reward.max_error_rate"),
    ("values_in_range", {"data.min_pixels": 0}, "--data.min_pixels"),
    ("values_in_range", {"data.max_pixels": -1}, "--data.max_pixels"),
    ("pixel_limits_are_a_range", {"data.min_pixels": 3137, "data.max_pixels": 3136}, "--data.min_pixels 3137"),
    ("model_given", {"actor.model_name_or_path": None}, "--actor.model_name_or_path"),
    ("dataset_given", {"data.prompt_dataset": None}, "--data.prompt_dataset"),
    ("run_folder_is_a_path", {"run.dir": ""}, "--run.dir is empty: name a folder"),
    ("run_folder_is_a_path", {"run.dir": "a\0b"}, r"--run.dir 'a\x00b' holds a null byte"),
    ("run_folder_is_a_path", {"run.dir": "~/run"}, "~ and $ are not replaced in settings; write the path out"),
    ("run_folder_is_a_path", {"run.dir": "${HOME}/run"}, "--run.dir ${HOME}/run: ~ and $ are not replaced"),
    ("weights_name_components", {"reward.weights": {"format": float("inf")}}, "--reward.weights.format must be finite"),
    ("evaluation_has_data", {"eval.steps": 5}, "--eval.steps 5 needs --eval.dataset"),
    ("reward_given", {"reward.functions": []}, "--reward.functions"),
    (
        "components_have_names_of_their_own",
        {"reward.functions": ["format", "mine.py:reward"]},
        "--reward.functions mine.py:reward",
    ),
    ("weights_name_components", {"reward.weights": {"acuracy": 1.0}}, "none of --reward.functions: format, accuracy"),
    ("response_fits_context", {"rollout.max_new_tokens": 2048}, "--data.max_len"),
    ("reward_range_is_a_range", {"reward.clip_range": (1.0, -1.0)}, "--reward.clip_range 1.0 -1.0"),
    (
        "length_penalty_fits_response",
        {"rollout.max_new_tokens": 512, "reward.overlong_buffer_len": 513},
        "--reward.overlong_buffer_len",
    ),
    *(
        (
            "groups_have_several_responses",
            {"algo.advantage.estimator": estimator, "rollout.n_samples_per_prompt": 1, "train.batch_size": 8},
            "--rollout.n_samples_per_prompt",
        )
        for estimator in GROUP_ESTIMATORS
    ),
    (
        "groups_have_several_responses",
        {
            "algo.advantage.estimator": "reinforce",
            "rollout.n_samples_per_prompt": 1,
            "train.batch_size": 8,
            "algo.dynamic_filtering_enable": True,
        },
        "--algo.dynamic_filtering_enable",
    ),
    ("token_weighting_exists", {"pepo.settings": {"alpha": -0.1}}, "--pepo.settings.alpha must be at least 0"),
    ("token_weighting_exists", {"pepo.settings": {"alfa": 0.1}}, "--pepo.settings.alfa is no setting of --pepo.method"),
    ("token_weighting_exists", {"pepo.method": "__init__"}, "--pepo.method '__init__' is unknown"),
    ("attention_exists", {"ds.attn_implementation": "flash"}, "'flash' is unknown: choose one of auto,"),
    ("attention_exists", {"ds.attn_implementation": "owner/kernel"}, "downloads a kernel and runs it: set --run.trust"),
    ("token_weights_keep_off_the_kl", {"algo.kl.use_loss": False}, "--algo.kl.use_loss"),
    (
        "corrections_combine",
        {"algo.advantage.is_correction_level": "seq", "algo.advantage.is_correction_mode": "clip"},
        "--algo.advantage.is_correction_mode",
    ),
    (
        "corrections_combine",
        {"algo.advantage.is_correction_level": "token", "rollout.top_k": 50},
        "--rollout.top_k leaves: set that to 0",
    ),
    (
        "corrections_combine",
        {"algo.advantage.is_correction_level": "token", "rollout.top_p": 0.9},
        "--rollout.top_p",
    ),
    (
        "corrections_combine",
        {
            "algo.advantage.is_correction_level": "token",
            "algo.advantage.is_correction_mode": "clip",
            "algo.advantage.is_correction_gating": "tv",
            "algo.advantage.is_correction_threshold": [0.1],
        },
        "--algo.advantage.is_correction_mode",
    ),
    (
        "corrections_combine",
        {"algo.advantage.is_correction_level": "seq", "algo.advantage.is_correction_gating": "binary_kl"},
        "--algo.advantage.is_correction_threshold",
    ),
    *(
        (
            "corrections_combine",
            {"algo.advantage.is_correction_threshold": thresholds},
            "--algo.advantage.is_correction_threshold",
        )
        for thresholds in ([], [2.0, 1.0], [0.0], [0.5, 1.0, 2.0])
    ),
    ("one_batch_is_generated_ahead", {"train.async_queue_size": 2}, "--train.async_queue_size 2: one batch"),
    ("values_in_range", {"ckpt.max_num": 0}, "--ckpt.max_num"),
    ("values_in_range", {"vllm.max_restarts": -1}, "--vllm.max_restarts"),
    ("values_in_range", {"run.stall_timeout": 0.0}, "--run.stall_timeout"),
    ("updates_are_whole", {"train.batch_size": 48}, "--train.batch_size"),
    ("train_micro_batches_are_whole", {"train.micro_batch_size": 3}, "--train.micro_batch_size"),
    # 64 responses of an update on 4 x 4 ranks leave 4 each
    (
        "train_micro_batches_are_whole",
        {"train.micro_batch_size": 8, "actor.num_nodes": 4, "actor.num_gpus_per_node": 4},
        "--train.micro_batch_size",
    ),
    ("rollout_micro_batches_are_whole", {"rollout.micro_batch_size": 5}, "--rollout.micro_batch_size"),
    # 64 / 32 = 2 micro batches
    (
        "ranks_share_micro_batches",
        {"rollout.micro_batch_size": 32, "actor.num_gpus_per_node": 4},
        "ranks of --actor",
    ),
    ("ranks_share_micro_batches", {"ref.num_gpus_per_node": 3}, "ranks of --ref"),
    (
        "ranks_share_micro_batches",
        {"train.dynamic_batch_enable": True, "actor.num_gpus_per_node": 2, "ref.num_gpus_per_node": 4},
        "ranks of --ref",
    ),
    (
        "colocated_models_match",
        {"train.colocate_actor_ref": True, "actor.num_gpus_per_node": 2},
        "--train.colocate_actor_ref",
    ),
    (
        "colocated_models_match",
        {"train.colocate_all": True, "ref.num_gpus_per_node": 2},
        "--train.colocate_all",
    ),
    ("colocated_engines_match", {"train.colocate_all": True, "vllm.num_engines": 2}, "--vllm.num_engines"),
    ("sleep_is_possible", {"vllm.enable_sleep": True}, "--vllm.enable_sleep"),
    ("sleep_is_possible", {"ds.enable_sleep": True}, "--ds.enable_sleep"),
    (
        "sleep_is_possible",
        {"vllm.enable_sleep": True, "train.colocate_all": True, "train.async_enable": True},
        "--train.async_enable",
    ),
    ("values_in_range", {"logger.tokens_every": -1}, "--logger.tokens_every"),
    ("token_records_hold_a_group", {"logger.tokens_max_rows": 7}, "--rollout.n_samples_per_prompt 8"),
    ("trackio_is_installed", {"logger.trackio.enable": True}, "pip install trackio"),
    ("wandb_has_a_key", {"logger.wandb.enable": True}, "WANDB_API_KEY"),
]

ACCEPTED: list[dict[str, Any]] = [
    {},
    # 8 GPUs, everything colocated
    {
        "train.colocate_all": True,
        "vllm.enable_sleep": True,
        "ds.enable_sleep": True,
        "actor.num_gpus_per_node": 8,
        "ref.num_gpus_per_node": 8,
        "vllm.num_engines": 4,
        "vllm.tensor_parallel_size": 2,
    },
    {"train.async_enable": True},
    {"train.async_enable": True, "train.colocate_all": True, "vllm.num_engines": 4},
    {"algo.advantage.estimator": "reinforce", "rollout.n_samples_per_prompt": 1, "train.batch_size": 8},
    {"algo.advantage.estimator": "flash_reinforce", "rollout.n_samples_per_prompt": 1, "train.batch_size": 8},
    {"pepo.method": "uniform", "algo.kl.use_loss": False},
    {"algo.kl.use_loss": False, "algo.kl.init_coef": 0.0},
    # without a KL there is no reference whose ranks could matter
    {"algo.kl.init_coef": 0.0, "ref.num_gpus_per_node": 3, "train.colocate_actor_ref": True},
    # dynamic batching has no use for micro batch sizes
    {"train.dynamic_batch_enable": True, "rollout.micro_batch_size": 5, "train.micro_batch_size": 3},
    {
        "algo.advantage.is_correction_level": "seq",
        "algo.advantage.is_correction_gating": "binary_kl",
        "algo.advantage.is_correction_threshold": [2e-4],
    },
    {"algo.advantage.is_correction_level": "token", "algo.advantage.is_correction_mode": "clip"},
    {"reward.functions": ["format", "mine.py:shortness"], "reward.weights": {"shortness": 0.5, "format": -1.0}},
    {"reward.max_error_rate": 0.0},
    {"data.min_pixels": 3136, "data.max_pixels": 3136},
    {"data.min_pixels": 3136},
    {"eval.temperature": 0.0, "actor.max_norm": 0.0, "pepo.settings": {"alpha": 0.0}, "data.max_images_per_prompt": 0},
]


@pytest.fixture(autouse=True)
def no_tracker(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # as if it were not installed
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)


@pytest.mark.parametrize(("rule", "changes", "flag"), BROKEN)
def test_a_broken_rule_is_told_in_one_line_that_names_the_flag(config, rule, changes, flag):
    change(config, changes)
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert flag in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("rule", "changes", "flag"), BROKEN)
def test_each_case_breaks_just_its_rule(config, rule, changes, flag):
    change(config, changes)
    assert [broken.__name__ for broken in RULES if broken(config)] == [rule]


def test_every_rule_has_a_case():
    assert {rule.__name__ for rule in RULES} == {rule for rule, _, _ in BROKEN}


@pytest.mark.parametrize("changes", ACCEPTED)
def test_settings_that_work_together_are_accepted(config, changes):
    change(config, changes)
    validate(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WANDB_API_KEY", "s" * 40), *(("WANDB_MODE", mode) for mode in ("offline", "disabled", "dryrun"))],
)
def test_wandb_takes_its_key_from_the_environment_or_needs_none(config, monkeypatch, name, value):
    config.logger.wandb.enable = True
    monkeypatch.setenv(name, value)
    validate(config)


def test_a_variable_that_wandb_no_longer_reads_is_named(config, monkeypatch):
    config.logger.wandb.enable = True
    monkeypatch.setenv("WANDB_DISABLED", "true")
    with pytest.raises(ConfigError, match=r"does not read WANDB_DISABLED\); .* or WANDB_MODE=offline or disabled"):
        validate(config)


def test_wandb_finds_the_key_that_its_login_has_written(config, monkeypatch, tmp_path):
    config.logger.wandb.enable = True
    (tmp_path / "netrc").write_text(f"machine api.example.org login user password {'s' * 40}")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://api.example.org")
    validate(config)


def test_a_key_that_wandb_refuses_is_one_line(config, monkeypatch):
    config.logger.wandb.enable = True
    monkeypatch.setenv("WANDB_API_KEY", "my-secret")
    with pytest.raises(ConfigError, match="--logger.wandb.enable does not start") as raised:
        validate(config)
    assert "my-secret" not in str(raised.value)


@pytest.mark.parametrize(("name", "value"), [("WANDB_API_KEY", ""), ("WANDB_MODE", "online")])
def test_an_empty_key_is_no_key(config, monkeypatch, name, value):
    config.logger.wandb.enable = True
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        validate(config)

from __future__ import annotations

import pickle
from pathlib import Path

from pepo_rlhf.config import Arguments, to_arguments


def test_settings_and_dropped_flags_are_read_as_nested_attributes(config):
    config.actor.adam.lr = 0.3
    args = to_arguments(config)
    assert args.actor.adam.lr == 0.3
    assert args.run.dir == str(Path("runs/pepo").absolute())
    assert args.critic.freezing_steps == -1
    assert args.critic.model_name_or_path is None
    assert args.ds.ring_attn_size == 1
    assert args.local_rank == -1
    assert vars(args.actor.muon) == {
        "lr": 0.02,
        "momentum": 0.95,
        "ns_steps": 5,
        "nesterov": True,
        "no_nesterov": False,
    }


def test_one_clip_range_serves_both_sides_unless_each_has_its_own(config):
    config.actor.eps_clip = 0.1
    assert to_arguments(config).actor.eps_clip_low_high == (0.1, 0.1)
    config.actor.eps_clip_low_high = (0.2, 0.28)
    assert to_arguments(config).actor.eps_clip_low_high == (0.2, 0.28)


def test_one_correction_threshold_is_an_upper_bound(config):
    config.algo.advantage.is_correction_threshold = [2.0]
    assert to_arguments(config).algo.advantage.is_correction_threshold == [0.0, 2.0]
    config.algo.advantage.is_correction_threshold = [0.5, 2.0]
    assert to_arguments(config).algo.advantage.is_correction_threshold == [0.5, 2.0]


def test_generation_and_token_budgets_default_to_those_of_training(config):
    args = to_arguments(config)
    assert args.rollout.vllm_generate_batch_size == config.rollout.batch_size
    assert args.rollout.max_tokens_per_gpu == config.train.max_tokens_per_gpu
    config.rollout.vllm_generate_batch_size = 16
    config.rollout.max_tokens_per_gpu = 1000
    args = to_arguments(config)
    assert args.rollout.vllm_generate_batch_size == 16
    assert args.rollout.max_tokens_per_gpu == 1000


def test_everything_a_run_writes_lies_under_its_folder(config):
    config.run.dir = "runs/first"
    args = to_arguments(config)
    assert args.ckpt.path == str(Path("runs/first/checkpoints").absolute())
    assert args.ckpt.output_dir == str(Path("runs/first/model").absolute())
    assert args.logger.tensorboard_dir == str(Path("runs/first/tensorboard").absolute())
    assert args.logger.wandb.run_name == "first"
    config.logger.wandb.run_name = "other"
    assert to_arguments(config).logger.wandb.run_name == "other"


def test_the_wandb_key_never_enters_the_arguments(config, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "my-secret")
    assert to_arguments(config).logger.wandb.key is None
    config.logger.wandb.enable = True
    args = to_arguments(config)
    assert args.logger.wandb.key is None
    assert b"my-secret" not in pickle.dumps(args)


def test_repr_is_one_short_line_of_names(config):
    config.actor.model_name_or_path = "private/model"
    for arguments in (to_arguments(config), to_arguments(config).actor):
        assert repr(arguments).startswith("Arguments(")
        assert len(repr(arguments)) <= 120
        assert "\n" not in repr(arguments)
        assert "private/model" not in repr(arguments)


def test_arguments_survive_pickling(config):
    args = to_arguments(config)
    restored = pickle.loads(pickle.dumps(args))
    assert restored == args
    assert isinstance(restored.actor.adam, Arguments)


def test_changing_the_arguments_leaves_the_settings_alone(config):
    args = to_arguments(config)
    args.reward.functions.append("another")
    args.eval.steps = float("inf")
    assert config.reward.functions == ["format", "accuracy"]
    assert config.eval.steps == -1

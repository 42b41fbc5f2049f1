from __future__ import annotations

import pickle
from pathlib import Path

from pepo_rlhf.config import Arguments, to_arguments


def test_settings_and_dropped_flags_are_read_as_nested_attributes(config):
    config.actor.adam.lr = 0.3
    args = to_arguments(config)
    assert args.actor.adam.lr == 0.3
    assert args.run.dir == str(Path("runs/pepo").absolute())
    assert args.ds.ring_attn_size == 1
    assert args.local_rank == -1


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


def test_the_token_budget_of_generation_defaults_to_that_of_training(config):
    assert to_arguments(config).rollout.max_tokens_per_gpu == config.train.max_tokens_per_gpu
    config.rollout.max_tokens_per_gpu = 1000
    assert to_arguments(config).rollout.max_tokens_per_gpu == 1000


def test_everything_a_run_writes_lies_under_its_folder(config):
    config.run.dir = "runs/first"
    args = to_arguments(config)
    assert args.ckpt.path == str(Path("runs/first/checkpoints").absolute())
    assert args.ckpt.output_dir == str(Path("runs/first/model").absolute())
    assert config.tensorboard_dir == Path("runs/first/tensorboard").absolute()
    assert config.run_name == "first"
    config.logger.wandb.run_name = "other"
    assert config.run_name == "other"


def test_the_wandb_key_never_enters_the_arguments(config, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "my-secret")
    config.logger.wandb.enable = True
    args = to_arguments(config)
    assert not hasattr(args.logger.wandb, "key")
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

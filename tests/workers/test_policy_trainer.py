"""Updates without a token to learn from, through upstream's loop: no division by zero, no step, counted."""

from types import SimpleNamespace

import pytest
import torch
from openrlhf.trainer.ray import ppo_actor
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

from pepo_rlhf.compat.openrlhf import trainable_windows
from pepo_rlhf.workers.policy_trainer import PolicyTrainer


class Buffer(list):
    sample_batch_size = 1

    def collate_fn(self, items):
        return items[0]

    def setup_dynamic_batch(self, strategy):
        pass


class Micro(SimpleNamespace):
    def to_device(self, device):
        pass


def micro_batch(*mask):
    mask = torch.tensor([mask])
    return Micro(action_mask=mask, sequences=mask, mm_train_inputs=[None], info={})


@pytest.fixture
def trainer(monkeypatch):
    """A trainer whose micro-batches take upstream's way to the loss, and no model."""
    made = object.__new__(PolicyTrainer)
    made.steps, boundaries = [], []

    def training_step(self, experience, kl_ctl, step, info):
        info = info or {"batch_num_tokens": self.replay_buffer.dynamic_batch_num_tokens[step]}
        num_tokens = int(experience.action_mask.sum())
        loss = experience.action_mask.sum() / torch.as_tensor(info["batch_num_tokens"])
        if not self.args.train.dynamic_batch_enable or self.replay_buffer.dynamic_optimizer_step[step]:
            made.steps.append(step)
        mean = torch.tensor(2.0) if num_tokens else torch.tensor(0.0) / 0
        return {
            "metrics": {"policy_loss": loss, "ppo_kl": mean, "reward": torch.tensor(1.0)},
            "weights": {"policy_loss": "token", "ppo_kl": "token", "reward": "sample"},
            "num_action_tokens": num_tokens,
            "num_samples": 1,
        }

    monkeypatch.setattr(ActorPPOTrainer, "training_step", training_step)
    monkeypatch.setattr(ppo_actor, "iter_grad_accum_global_norm", trainable_windows(iter_grad_accum_global_norm))
    monkeypatch.setattr(ppo_actor, "DataLoader", lambda buffer, **kwargs: list(buffer))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    made.strategy = SimpleNamespace(
        ring_attn_group=None,
        accumulated_gradient=2,
        is_rank_0=lambda: False,
        all_reduce=lambda status: status,
        ds_device_mesh={"dp": SimpleNamespace(get_group=lambda: None)},
    )
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 1)
    made.args = SimpleNamespace(
        train=SimpleNamespace(dynamic_batch_enable=False), ds=SimpleNamespace(tensor_parallel_size=1)
    )
    made.max_epochs, made.dataloader_pin_memory = 1, False
    made.boundaries = boundaries
    made.actor = SimpleNamespace(model=SimpleNamespace(set_gradient_accumulation_boundary=boundaries.append))
    return made


def test_a_masked_micro_batch_of_an_update_weighs_nothing_in_the_means(trainer):
    trainer.replay_buffer = Buffer([micro_batch(0, 0), micro_batch(1, 1)])
    status = trainer.ppo_train(kl_ctl=0.0)
    assert status["ppo_kl"] == pytest.approx(2.0)
    assert (status["reward"], status["skipped_updates"]) == (1.0, 0)


def test_updates_skipped_are_counted_over_all_epochs(trainer):
    trainer.max_epochs = 2
    trainer.replay_buffer = Buffer([micro_batch(0, 0), micro_batch(0, 0), micro_batch(1, 0), micro_batch(1, 1)])
    assert trainer.ppo_train(kl_ctl=0.0)["skipped_updates"] == 2


def test_a_dynamic_update_without_tokens_takes_no_step(trainer):
    trainer.max_epochs = 2
    trainer.args.train.dynamic_batch_enable = True
    trainer.replay_buffer = Buffer([micro_batch(0, 0), micro_batch(1, 0), micro_batch(1, 1)])
    trainer.replay_buffer.dynamic_batch_num_tokens = [0, 3, 3]  # two updates, of one and of two micro-batches
    trainer.replay_buffer.dynamic_optimizer_step = [1, 0, 1]
    status = trainer.ppo_train(kl_ctl=0.0)
    assert trainer.steps == [2, 2]
    assert trainer.boundaries == [False, False, True] * 2
    assert status["skipped_updates"] == 2
    assert status["ppo_kl"] == pytest.approx(2.0)
    # Shares 1/3 and 2/3 of an update of three tokens: its mean loss is 1, of the three tokens that there are.
    assert status["policy_loss"] == pytest.approx(1.0)

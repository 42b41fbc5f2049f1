"""An update that takes old log-probs, signals and weights from its own forward pass, against one that is given them."""

from types import SimpleNamespace

import pytest
import torch
from openrlhf.models import PolicyLoss

from pepo_rlhf.config import Config
from pepo_rlhf.core.token_advantages import spread_advantages
from pepo_rlhf.core.weighting import load_weighting
from pepo_rlhf.workers.micro_batch import UpdateBatch
from pepo_rlhf.workers.policy_trainer import PolicyTrainer, Update, Weighing

SIGNALS, COEFFICIENT = ("entropy", "visual_similarity"), 0.7


class Strategy(SimpleNamespace):
    world_size = 1

    def all_reduce(self, data, op="mean"):
        return data

    def get_grad_norm(self, actor):
        return 0.0


@pytest.fixture
def config():
    config = Config()
    config.pepo.settings = {"alpha": 0.5, "temperature": 0.1}
    return config


@pytest.fixture
def make_trainer(worker, config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")
    model = worker.actor.model  # with what the trainer asks of a DeepSpeed engine
    for name, function in {
        "set_gradient_accumulation_boundary": lambda is_boundary: None,
        "backward": lambda loss, scale_wrt_gas: loss.backward(),
        "step": lambda: None,
    }.items():
        monkeypatch.setattr(model, name, function, raising=False)

    def make():
        worker.actor.zero_grad()
        scheduler = SimpleNamespace(get_last_lr=lambda: [0.0])
        loss = PolicyLoss(0.2, 0.28)
        return PolicyTrainer(config, Strategy(), worker.actor, None, loss, scheduler, worker.image_token_ids)

    yield make
    model.gradient_checkpointing_disable()
    worker.actor.zero_grad()


@pytest.fixture
def rows(micro_batch):
    """Responses with an advantage each, whose last token carries no loss in the second row."""
    mask = micro_batch.action_mask.clone()
    mask[1, mask[1].nonzero()[-1]] = 0
    advantages = torch.tensor([[1.5], [-0.5], [0.25]]).expand(mask.shape)
    return UpdateBatch(micro_batch, mask, advantages, -torch.rand(mask.shape), None, -torch.rand(mask.shape))


def gradients(worker):
    return {name: weight.grad for name, weight in worker.actor.model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("checkpointing", [None, False, True])
@pytest.mark.parametrize("entropy_coef", [None, 0.01])
def test_one_pass_gives_what_two_give(worker, rows, config, make_trainer, checkpointing, entropy_coef):
    config.actor.entropy_coef = entropy_coef
    if checkpointing is not None:
        worker.actor.model.gradient_checkpointing_enable({"use_reentrant": checkpointing})
        worker.actor.model.enable_input_require_grads()
    scores = worker.score(rows.rows, SIGNALS)
    _, advantages = spread_advantages(
        load_weighting(config.pepo.method, config.pepo.settings),
        scores.signals,
        rows.loss_mask,
        rows.advantages,
        COEFFICIENT,
        torch.tensor([True, True, False]),
        "uniform",
    )
    assert advantages[0][rows.loss_mask[0].bool()].unique().numel() > 1
    scored = rows._replace(action_log_probs=scores.action_log_probs, advantages=advantages)
    num_tokens = int(rows.loss_mask.sum())
    metrics, nothing = make_trainer().train([Update([scored], num_tokens, 3)])
    expected = gradients(worker)
    weighing = Weighing(SIGNALS, COEFFICIENT)
    found_metrics, (found,) = make_trainer().train([Update([rows], num_tokens, 3, [], weighing)])
    assert nothing == [] and found_metrics == pytest.approx(metrics, abs=1e-6)
    torch.testing.assert_close(found, scores, rtol=1e-5, atol=1e-6)
    assert gradients(worker).keys() == expected.keys()
    for name, gradient in gradients(worker).items():
        assert (gradient - expected[name]).norm() <= 1e-5 * expected[name].norm() + 1e-9, name


def test_what_is_left_out_is_scored_before_the_step_and_without_a_gradient(worker, rows, make_trainer):
    scores = worker.score(rows.rows, SIGNALS)
    nothing = rows._replace(loss_mask=torch.zeros_like(rows.loss_mask))
    weighing = Weighing(SIGNALS, COEFFICIENT)
    for update in (Update([rows], 10, 3, [rows], weighing), Update([nothing], 0, 0, [rows], weighing)):
        trainer = make_trainer()
        metrics, found = trainer.train([update])
        torch.testing.assert_close(found, [scores, scores], rtol=1e-5, atol=1e-6)
        assert bool(gradients(worker)) == (update.num_tokens > 0) == ("policy_loss" in metrics)

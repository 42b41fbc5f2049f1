"""Updates of the policy, against upstream's trainer and by hand: gradients, boundaries, metrics, empty updates."""

from types import SimpleNamespace

import pytest
import torch
from openrlhf.models import PolicyLoss
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.workers.micro_batch import MicroBatch, UpdateBatch
from pepo_rlhf.workers.policy_trainer import PolicyTrainer, Update

VOCABULARY = 7


class Engine(torch.nn.Module):
    """What the trainer asks of a DeepSpeed engine: gradients add up until a step at a boundary."""

    def __init__(self):
        super().__init__()
        self.log_odds = torch.nn.Parameter(torch.linspace(-1, 1, VOCABULARY))
        self.boundaries, self.steps, self.is_boundary = [], [], True

    def set_gradient_accumulation_boundary(self, is_boundary):
        self.is_boundary = is_boundary
        self.boundaries.append(is_boundary)

    def backward(self, loss, scale_wrt_gas=True):
        loss.backward()

    def step(self):
        if self.is_boundary:
            self.steps.append(self.log_odds.grad.clone())
            self.log_odds.grad = None

    def get_global_grad_norm(self):
        return self.steps[-1].norm()


class Policy(torch.nn.Module):
    """Draws each token from one distribution, whatever came before."""

    def __init__(self):
        super().__init__()
        self.model = Engine()

    def forward(self, sequences, action_mask, attention_mask=None, return_output=False, return_entropy=False, **_):
        log_probs = self.model.log_odds.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum().expand(action_mask.shape)
        return log_probs[sequences[:, 1:]] * action_mask, SimpleNamespace(entropy=entropy * action_mask)


class Strategy(SimpleNamespace):
    world_size, ring_attn_group = 1, None

    def all_reduce(self, data, op="mean"):
        return data

    def get_grad_norm(self, actor):
        return actor.model.get_global_grad_norm().item()

    def backward(self, loss, actor, optimiser):
        actor.model.backward(loss)

    def optimizer_step(self, *args, **kwargs):
        pass


def config_of(**settings):
    config = Config()
    config.algo.kl.init_coef = 0.1
    for name, value in settings.items():
        setattr(config.actor, name, value)
    return config


def rows_of(*masks, seed=0):
    """Rows of random tokens, advantages and log-probs, a mask each."""
    generator, mask = torch.Generator().manual_seed(seed), torch.tensor(masks)

    def random():
        return torch.randn(mask.shape, generator=generator)

    shape = (len(masks), mask.shape[1] + 1)
    sequences = torch.randint(VOCABULARY, shape, generator=generator)
    return UpdateBatch(
        MicroBatch(sequences, mask, torch.ones(shape, dtype=torch.long), [None] * len(masks)),
        loss_mask=mask,
        advantages=random() * mask,
        rollout_log_probs=(-2 + 0.1 * random()) * mask,
        action_log_probs=(-2 + 0.1 * random()) * mask,
        reference_log_probs=(-2 + 0.1 * random()) * mask,
    )


def row_of(rows, row):
    """One row of several."""
    batch = MicroBatch(*(part[row : row + 1] for part in rows.rows[:4]))
    return UpdateBatch(batch, *(part[row : row + 1] for part in rows[1:]))


def experience_of(rows):
    """Rows in the form of upstream's trainer."""
    return Experience(
        sequences=rows.rows.sequences,
        attention_mask=rows.rows.attention_mask,
        action_mask=rows.loss_mask,
        action_log_probs=rows.action_log_probs,
        base_action_log_probs=rows.reference_log_probs,
        rollout_log_probs=rows.rollout_log_probs,
        advantages=rows.advantages,
    )


@pytest.fixture
def make_trainer(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: "cpu")

    def make(config, policy_loss=None):
        arguments = to_arguments(config)
        low, high = arguments.actor.eps_clip_low_high
        loss = policy_loss or PolicyLoss(low, high, token_level_loss=config.actor.loss_agg_mode == "token-mean")
        scheduler = SimpleNamespace(get_last_lr=lambda: [0.5])
        return PolicyTrainer(config, Strategy(args=arguments), Policy(), None, loss, scheduler, [VOCABULARY])

    return make


def upstreams_gradient(config, trainer, micro_batch, normaliser):
    """The gradient and the losses of the trainer that this one takes the place of."""
    stock = object.__new__(ActorPPOTrainer)
    stock.strategy, stock.args, stock.actor = trainer.strategy, trainer.strategy.args, Policy()
    stock.actor_loss_fn, stock.aux_loss, stock.ema_model = trainer.policy_loss, False, None
    stock.actor_optim, stock.actor_scheduler = None, trainer.scheduler
    stock.actor.model.steps = [torch.zeros(1)]  # the norm that it reports is DeepSpeed's
    status = stock.training_step(micro_batch, config.algo.kl.init_coef, 0, {"dp_size": 1, **normaliser})
    return stock.actor.model.log_odds.grad, status["metrics"]


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean"])
@pytest.mark.parametrize("entropy_coef", [None, 0.0, 0.01])
def test_gradients_and_losses_are_upstreams(make_trainer, mode, entropy_coef):
    config = config_of(loss_agg_mode=mode, entropy_coef=entropy_coef)
    trainer, masks = make_trainer(config), ([0, 1, 1, 1], [0, 0, 1, 0])
    gradient, losses = upstreams_gradient(
        config, trainer, experience_of(rows_of(*masks)), {"batch_num_tokens": 4, "global_batch_size": 2}
    )
    metrics, _ = trainer.train([Update([rows_of(*masks)], num_tokens=4, num_responses=2)])
    assert torch.equal(trainer.actor.model.steps[0], gradient)
    for name in ("policy_loss", "kl", "logprobs_diff", "ppo_kl", "ppo_clip_ratio"):
        assert metrics[name] == pytest.approx(losses[name].item(), abs=1e-7), name
    assert ("entropy_loss" in metrics) == (entropy_coef is not None)
    assert (metrics["actor_lr"], metrics["skipped_updates"]) == (0.5, 0)


def test_an_update_is_one_step_however_it_is_split(make_trainer):
    config, whole = config_of(), rows_of([0, 1, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0])
    rows = [row_of(whole, row) for row in range(3)]
    results = []
    for micro_batches in ([whole], rows):
        trainer = make_trainer(config)
        metrics, _ = trainer.train([Update(micro_batches, num_tokens=6, num_responses=3)])
        results.append((metrics, trainer.actor.model.steps))
    assert trainer.actor.model.boundaries == [False, False, True]
    (metrics, (gradient,)), (split_metrics, (split_gradient,)) = results
    torch.testing.assert_close(split_gradient, gradient)
    assert split_metrics == pytest.approx(metrics, abs=1e-6)


def test_what_is_left_out_still_counts_in_the_means_of_the_losses(make_trainer):
    """Its gradient is 0, and the loss is divided by its tokens as well."""
    config = config_of()
    config.algo.kl.init_coef = 0.0
    trained, left_out = rows_of([0, 1, 1, 1]), rows_of([0, 1, 1, 0], seed=1)
    left_out = left_out._replace(advantages=torch.zeros(1, 4))
    results = []
    for micro_batches in ([trained, left_out], [trained]):
        trainer = make_trainer(config)
        metrics, _ = trainer.train([Update(micro_batches, num_tokens=5, num_responses=2)])
        results.append((metrics["policy_loss"], trainer.actor.model.steps[0]))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_updates_without_a_token_take_no_step_and_are_counted(make_trainer):
    trainer = make_trainer(config_of())
    nothing = Update([rows_of([0, 0, 0, 0])], num_tokens=0, num_responses=0)
    something = Update([rows_of([0, 1, 1, 0])], num_tokens=2, num_responses=1)
    metrics, _ = trainer.train([nothing, something, nothing])
    assert (metrics["skipped_updates"], len(trainer.actor.model.steps)) == (2, 1)
    assert trainer.train([nothing])[0] == {"skipped_updates": 1}


def test_a_masked_micro_batch_of_an_update_weighs_nothing_in_the_means(make_trainer):
    """Its own means are 0 / 0."""
    trainer = make_trainer(config_of())
    one, masked = rows_of([0, 1, 1, 1]), rows_of([0, 0, 0, 0])
    alone, _ = trainer.train([Update([rows_of([0, 1, 1, 1])], 3, 1)])
    assert trainer.train([Update([one, masked], 3, 1)])[0] == pytest.approx(alone)


def test_the_moving_average_follows_each_update(make_trainer):
    trainer, calls = make_trainer(config_of()), []
    trainer.ema_model = object()
    trainer.strategy.moving_average = lambda *args: calls.append(args[2:])
    trainer.train([Update([rows_of([0, 1, 1, 1])] * 2, 6, 2)] * 2)
    assert calls == [(0.992, "cpu")] * 2
    assert trainer.strategy.accumulated_gradient == 1

"""The experience maker on batches made by hand, against OpenRLHF's own where both compute the same. No Ray."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller.batch_metrics import token_metrics
from pepo_rlhf.controller.experience_maker import PepoExperienceMaker
from pepo_rlhf.controller.token_recorder import TokenRecorder
from pepo_rlhf.core.weighting import BUILT_IN, load_weighting
from pepo_rlhf.metrics.token_records import SIGNAL_COLUMNS, read_steps
from pepo_rlhf.report.reweight import load_batches, recomputed_weights
from pepo_rlhf.toy.tokenizer import train_tokenizer

REWARDS = [0.0, 1.0, 2.0, 1.0, 0.5, 0.0, 2.0, 2.0]
LENGTHS = [4, 2, 5, 1, 3, 3, 2, 6]


def make_config(method="pepo", samples=4, estimator="group_norm", overlong_filtering=False, settings=None, **pepo):
    config = Config()
    config.pepo.method, config.pepo.settings = method, settings or {}
    for name, value in pepo.items():
        setattr(config.pepo, name, value)
    config.rollout.n_samples_per_prompt = samples
    config.algo.advantage.estimator = estimator
    config.algo.overlong_filtering_enable = overlong_filtering
    return config


def make(batch, progress=0.0, **settings):
    PepoExperienceMaker(make_config(**settings)).make(batch, progress)
    return batch


def stock(batch, samples=4, estimator="group_norm"):
    """[B, S - 1] advantages of OpenRLHF for the rewards of a batch, taken as one micro-batch."""
    args = to_arguments(make_config(samples=samples, estimator=estimator))
    args.algo.advantage.gamma = 1.0
    strategy = SimpleNamespace(args=args)
    maker = RemoteExperienceMaker(None, None, None, None, SimpleNamespace(value=0.001), strategy, None)
    experience = Experience(
        index=list(range(len(batch))),
        action_mask=batch.action_mask,
        rewards=batch.rewards.clone(),
        kl=torch.zeros(batch.action_mask.shape),
        truncated=batch.truncated,
    )
    return maker.compute_advantages_and_returns([experience])[0].advantages


@pytest.mark.parametrize("estimator", ["group_norm", "rloo", "dr_grpo", "flash_reinforce"])
@pytest.mark.parametrize("progress", [0.0, 0.3])
def test_uniform_changes_no_bit_of_upstream(scored_batch, estimator, progress):
    expected = stock(scored_batch(REWARDS, LENGTHS), estimator=estimator)
    batch = make(scored_batch(REWARDS, LENGTHS), progress, method="uniform", estimator=estimator)
    assert torch.equal(batch.advantages, expected)


@pytest.mark.parametrize("estimator", ["reinforce", "reinforce_baseline"])
def test_estimators_that_whiten_a_batch_agree_with_upstream_to_rounding(scored_batch, estimator):
    """Their mean and deviation are float64 sums over response tokens, upstream's float32 sums over padding too."""
    batch = make(scored_batch(REWARDS, LENGTHS), method="uniform", estimator=estimator)
    mask = batch.action_mask.bool()
    expected = stock(scored_batch(REWARDS, LENGTHS), estimator=estimator)
    torch.testing.assert_close(batch.advantages[mask], expected[mask], rtol=1e-6, atol=1e-6)


def test_groups_without_spread_have_advantage_zero_and_others_keep_theirs(scored_batch):
    rewards = [float(np.float32(0.7))] * 8 + [0.0, 1.0] * 4
    expected = stock(scored_batch(rewards, [2] * 16, 8), 8)
    batch = make(scored_batch(rewards, [2] * 16, 8), samples=8, method="uniform")
    assert (batch.advantages[:8] == 0).all()
    assert torch.equal(batch.advantages[8:], expected[8:])


@pytest.mark.parametrize("samples", [1, 4])
def test_estimators_that_compare_no_group_keep_the_advantages_of_equal_rewards(scored_batch, samples):
    rewards = [1.0] * 4 + [0.0] * 4
    batch = make(scored_batch(rewards, [2] * 8, samples), samples=samples, method="uniform", estimator="reinforce")
    assert batch.advantages[0].abs().max() > 0.1


def test_pepo_advantage_is_the_response_advantage_times_the_formula(scored_batch):
    progress, settings = 0.25, {"alpha": 0.3, "temperature": 0.2}
    batch = make(scored_batch(REWARDS, LENGTHS), progress, settings=settings)
    weights = load_weighting("pepo", settings)(batch.signals, batch.action_mask)
    expected = stock(scored_batch(REWARDS, LENGTHS)) * ((1 - progress) + progress * weights)
    valid = batch.action_mask.bool()
    torch.testing.assert_close(batch.advantages[valid], expected[valid])


def test_constant_schedule_weights_from_the_first_step(scored_batch):
    settings = {"temperature": 0.1}
    linear = make(scored_batch(REWARDS, LENGTHS), 1.0, settings=settings)
    constant = make(scored_batch(REWARDS, LENGTHS), 0.0, settings=settings, schedule="constant")
    assert torch.equal(linear.advantages, constant.advantages)


def test_high_entropy_thresholds_over_the_batch_and_ignores_the_schedule(scored_batch):
    batch = make(scored_batch(REWARDS, LENGTHS), 0.0, method="high_entropy")
    mask = batch.action_mask.bool()
    entropy, kept = batch.signals["entropy"][mask], batch.advantages[mask] != 0
    # 26 tokens: the quantile lies at position 20 of 0..25, so six stay (rows with advantage 0 hide some of them).
    assert len(entropy) == 26
    assert (entropy[kept] >= entropy.sort().values[20]).all()
    assert kept.sum() <= 6


def test_prompts_without_an_image(scored_batch):
    def without_image():
        return scored_batch(REWARDS, LENGTHS, with_image=lambda row: False)

    even = make(without_image(), 1.0, method="uniform")
    assert torch.equal(make(without_image(), 1.0, no_image="uniform").advantages, even.advantages)
    with pytest.raises(ValueError, match="8 responses .* without an image"):
        make(without_image(), 1.0, no_image="error")


def test_a_weighting_that_needs_no_similarity_works_without_it(scored_batch):
    batch = scored_batch(REWARDS, LENGTHS)
    del batch.signals["visual_similarity"]
    make(batch, 1.0, method="entropy")
    with pytest.raises(ValueError, match="needs the signals visual_similarity"):
        make(batch, 1.0)


OUTSIDE = """
from pepo_rlhf.core.token_weighting import TokenWeighting


class Grounded(TokenWeighting):
    signals = ("image_dependence", "position")
    response_signals = {"position": lambda response: range(len(response.token_texts))}

    def weigh(self, signals, mask):
        return signals["image_dependence"] + signals["position"]
"""


def test_a_weighting_outside_of_the_repository_uses_dependence_and_a_signal_from_the_text(scored_batch, tmp_path):
    file = tmp_path / "grounded.py"
    file.write_text(OUTSIDE)
    method = f"{file}:Grounded"
    batch = scored_batch(REWARDS, LENGTHS)
    config = make_config(method=method, schedule="constant")
    config.run.dir = str(tmp_path)
    processor = train_tokenizer(["Find x."])
    maker = PepoExperienceMaker(config, processor)
    assert maker.weighting.policy_signals == ("image_dependence",)
    maker.make(batch, 0.0)
    mask = batch.action_mask.bool()
    positions = (batch.action_mask.cumsum(-1) - 1).float()
    torch.testing.assert_close(batch.weights[mask], (batch.signals["image_dependence"] + positions)[mask])
    recorder = TokenRecorder(config, processor, 1)
    recorder.record(1, batch, 1.0)
    recorder.finish()
    (recorded,) = load_batches(tmp_path)
    torch.testing.assert_close(recomputed_weights(recorded, method, {}), recorded.weight)


def test_metrics_show_the_signals_that_were_computed(scored_batch):
    batch = make(scored_batch(REWARDS, LENGTHS))
    dependence = batch.signals["image_dependence"][batch.action_mask.bool()]
    metrics = token_metrics(batch)
    assert metrics["image_dependence"] == pytest.approx(dependence.mean().item())
    assert metrics["image_dependence_max"] == dependence.max().item()
    del batch.signals["image_dependence"]
    assert not {"image_dependence", "image_dependence_max"} & token_metrics(batch).keys()


def test_truncated_responses_carry_no_loss_but_count_in_their_group(scored_batch):
    plain = make(scored_batch(REWARDS, LENGTHS), method="uniform")
    batch = make(scored_batch(REWARDS, LENGTHS, truncated={1, 4}), method="uniform", overlong_filtering=True)
    for row in range(8):
        assert batch.loss_mask[row].sum() == (0 if row in {1, 4} else plain.action_mask[row].sum())
    assert torch.equal(batch.advantages, plain.advantages)


def test_a_response_that_could_not_be_graded_teaches_nothing(scored_batch):
    batch = scored_batch([0.0, 1.0, 0.5, 0.0], [2] * 4)
    batch.grader_errors[3] = "KeyError"
    make(batch, method="uniform")
    assert batch.rewards.tolist() == [0.0, 1.0, 0.5, 0.5]
    assert batch.advantages[3].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Responses of 4, 2, 5, 1 tokens, at most 6 and a buffer of 4: from 3 tokens on a quarter a token.
        ({"overlong_buffer_len": 4.0}, [0.0 - 0.5, 1.0, 2.0 - 0.75, 1.0]),
        ({"stop_properly_penalty_coef": 0.5}, [0.0, 1.0, 1.0, 1.0]),
        ({"stop_properly_penalty_coef": -1.0}, [0.0, 1.0, -1.0, 1.0]),
    ],
)
def test_length_penalties_come_before_the_comparison(scored_batch, settings, expected):
    config = make_config()
    config.rollout.max_new_tokens = 6
    for name, value in settings.items():
        setattr(config.reward, name, value)
    batch = scored_batch(REWARDS[:4], LENGTHS[:4], truncated={2})
    PepoExperienceMaker(config).make(batch, 0.0)
    assert batch.rewards.tolist() == expected


def test_a_kl_in_the_reward_lowers_the_return_of_tokens_before_it(scored_batch):
    config = make_config(method="uniform", samples=2, estimator="dr_grpo")
    config.algo.kl.use_loss, config.algo.kl.estimator, config.algo.kl.init_coef = False, "k1", 0.5
    batch = scored_batch([1.0, 0.0], [2, 1], num_samples=2)
    batch.reference_log_probs = batch.action_log_probs - batch.action_mask * 0.2  # log-ratio 0.2 at each token
    PepoExperienceMaker(config).make(batch, 0.0)
    # Group advantages 0.5 and -0.5; each token costs 0.5 * 0.2, and a return sums what follows.
    assert batch.advantages[0][batch.action_mask[0].bool()].tolist() == pytest.approx([0.5 - 0.2, 0.5 - 0.1])
    assert batch.advantages[1][batch.action_mask[1].bool()].tolist() == pytest.approx([-0.5 - 0.1])


def test_continuous_rewards_are_compared_in_float64(scored_batch):
    """Two float64 numbers next to each other that float32 rounds apart, as two computations of one overlap may give."""
    middle = (np.float64(np.float32(1.7)) + np.float64(np.nextafter(np.float32(1.7), np.float32(2)))) / 2
    low, high = float(np.nextafter(middle, 1)), float(np.nextafter(middle, 2))
    assert np.float32(low) != np.float32(high)
    batch = make(scored_batch([low, high, low, high, 1.2, 1.2, 1.6, 1.6], LENGTHS), method="uniform")
    assert batch.advantages[:4].abs().max() < 1e-6
    # (1.2 - 1.4) / 0.2309, the sample deviation of 1.2, 1.2, 1.6, 1.6.
    assert batch.advantages[4][2].item() == pytest.approx(-0.8660, abs=1e-4)
    assert batch.advantages.dtype == torch.float32


def record(run_dir, batch, progress=0.0, **settings):
    """The batch of one step that has been recorded in `run_dir`."""
    config = make_config(**settings)
    config.run.dir = str(run_dir)
    processor = train_tokenizer(["Find x."])
    maker = PepoExperienceMaker(config, processor)
    maker.make(batch, progress)
    recorder = TokenRecorder(config, processor, 1)
    recorder.record(1, batch, maker.schedule_coefficient(progress))
    recorder.finish()
    return batch


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_records_hold_what_is_trained_on(scored_batch, tmp_path, schedule):
    batch = record(tmp_path, scored_batch(REWARDS, LENGTHS), 0.25, settings={"temperature": 0.2}, schedule=schedule)
    (records,) = read_steps(tmp_path)
    for index, row in enumerate(records.table.to_pylist()):
        mask, p = batch.action_mask[index].bool(), row["progress"]
        assert p == (0.25 if schedule == "linear" else 1.0)
        assert row["advantage"] == batch.advantages[index][mask].tolist()
        assert row["advantage_before"] == stock(scored_batch(REWARDS, LENGTHS))[index][mask].tolist()
        for signal, column in SIGNAL_COLUMNS.items():
            assert row[column] == batch.signals[signal][index][mask].tolist()
        expected = [a * (1 - p + p * w) for a, w in zip(row["advantage_before"], row["weight"], strict=True)]
        assert row["advantage"] == pytest.approx(expected, abs=1e-6)
        assert sum(row["weight"]) / len(row["weight"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("no_image", ["uniform", "sequence"])
@pytest.mark.parametrize("method", BUILT_IN)
def test_records_give_the_trainers_weights_back(scored_batch, tmp_path, method, no_image):
    """With responses that overlong filtering takes out, and prompts without an image."""
    batch = scored_batch(REWARDS, LENGTHS, with_image=lambda row: row < 4, truncated={1, 5})
    settings = {"alpha": 0.3, "temperature": 0.2}
    record(tmp_path, batch, overlong_filtering=True, method=method, no_image=no_image, settings=settings)
    (recorded,) = load_batches(tmp_path)
    torch.testing.assert_close(recomputed_weights(recorded, method, settings), recorded.weight, rtol=0, atol=1e-6)
    assert not recorded.mask[[1, 5]].any() and not recorded.weight[[1, 5]].any()


def test_a_filtered_response_is_recorded_without_advantage(scored_batch, tmp_path):
    record(tmp_path, scored_batch(REWARDS, LENGTHS, truncated={0}), overlong_filtering=True)
    (records,) = read_steps(tmp_path)
    row = records.table.to_pylist()[0]
    assert row["truncated"] and len(row["token_ids"]) == LENGTHS[0]
    assert set(row["advantage"]) == set(row["weight"]) == {0.0}
    assert row["advantage_before"][0] != 0


def test_metrics_say_what_the_weights_look_like(scored_batch):
    metrics = token_metrics(make(scored_batch(REWARDS, LENGTHS), 0.5, method="uniform"))
    assert metrics["weight_min"] == metrics["weight_p50"] == metrics["weight_max"] == 1.0
    assert metrics["weight_entropy_corr"] == 0.0
    assert metrics["rollout_trainer_gap"] == pytest.approx(0.125)


def test_a_batch_in_which_everything_is_truncated_has_no_token_metrics(scored_batch):
    batch = make(scored_batch(REWARDS, LENGTHS, truncated=range(8)), overlong_filtering=True)
    assert token_metrics(batch) == {}

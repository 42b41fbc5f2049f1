"""The experience maker against upstream's own, on experiences made by hand. No Ray: both run in this process."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller.experience_maker import PepoExperienceMaker
from pepo_rlhf.core.weighting import BUILT_IN, load_weighting
from pepo_rlhf.metrics.token_records import read_steps
from pepo_rlhf.report.reweight import load_batches, recomputed_weights
from pepo_rlhf.toy.tokenizer import train_tokenizer
from pepo_rlhf.workers.model import PolicyScores

PROMPT = 3  # prompt tokens of every sample


def make_batch(rewards, lengths, with_image=lambda row: True, progress=0.0, micro_batch_size=2, truncated=()):
    """Experiences as they are after the forwards: micro-batches of right-padded rows, and their scores."""
    generator = torch.Generator().manual_seed(0)
    experiences, scores = [], []
    for start in range(0, len(rewards), micro_batch_size):
        rows = list(range(start, min(start + micro_batch_size, len(rewards))))
        width = PROMPT + max(lengths[row] for row in rows) - 1
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            mask[i, PROMPT - 1 : PROMPT - 1 + lengths[row]] = 1
        log_probs = -torch.rand(len(rows), width, generator=generator)
        experiences.append(
            Experience(
                index=rows,
                sequences=torch.arange(width + 1).repeat(len(rows), 1),
                prompts=["Find x."] * len(rows),
                labels=["13"] * len(rows),
                images=[[]] * len(rows),
                action_mask=mask,
                rewards=torch.tensor([rewards[row] for row in rows]),
                action_log_probs=log_probs,
                rollout_log_probs=log_probs + 0.125,
                kl=torch.zeros(len(rows), width),
                truncated=torch.tensor([row in truncated for row in rows]),
                mm_train_inputs=[{"pixel_values": torch.zeros(1)} if with_image(row) else None for row in rows],
                info={
                    "progress": torch.full((len(rows),), progress),
                    "task": ["here"] * len(rows),
                    "row": rows,
                    "episode": torch.zeros(len(rows)),
                    "episode_prompts_drawn": torch.full((len(rows),), float(len(rewards))),
                    "prompts_dropped": torch.zeros(len(rows)),
                    "format": torch.zeros(len(rows)),
                    "accuracy": torch.zeros(len(rows)),
                },
            )
        )
        scores.append(
            PolicyScores(
                log_probs,
                torch.rand(len(rows), width, generator=generator),
                torch.rand(len(rows), width, generator=generator),
            )
        )
    return experiences, scores


def make_maker(cls=PepoExperienceMaker, samples=4, settings=None, **pepo):
    args = to_arguments(Config())
    args.rollout.n_samples_per_prompt = samples
    args.logger.tokens_every = 0
    args.pepo.settings = settings or {}
    vars(args.pepo).update(pepo)
    return cls(None, None, None, None, SimpleNamespace(value=0.001), SimpleNamespace(args=args), None)


def run(maker, batch):
    experiences, scores = batch
    maker._scores = scores
    return maker.compute_advantages_and_returns(experiences)


REWARDS = [0.0, 1.0, 2.0, 1.0, 0.5, 0.0, 2.0, 2.0]
LENGTHS = [4, 2, 5, 1, 3, 3, 2, 6]


@pytest.mark.parametrize("estimator", ["group_norm", "rloo", "dr_grpo", "reinforce_baseline"])
@pytest.mark.parametrize("progress", [0.0, 0.3])
def test_uniform_changes_no_bit_of_upstream(estimator, progress):
    stock, ours = make_maker(RemoteExperienceMaker), make_maker(method="uniform")
    for maker in (stock, ours):
        maker.args.algo.advantage.estimator = maker.advantage_estimator = estimator
    expected = stock.compute_advantages_and_returns(make_batch(REWARDS, LENGTHS)[0])
    actual = run(ours, make_batch(REWARDS, LENGTHS, progress=progress))
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a.advantages, b.advantages)


def test_groups_without_spread_have_advantage_zero_and_others_keep_theirs():
    # Upstream makes 0.92 out of eight equal rewards of 0.7.
    rewards = [0.7] * 8 + [0.0, 1.0] * 4
    stock = make_maker(RemoteExperienceMaker, samples=8)
    expected = stock.compute_advantages_and_returns(make_batch(rewards, [2] * 16)[0])
    assert expected[0].advantages.abs().max() > 0.5, "upstream has mended this: zero_advantages can go"
    actual = run(make_maker(samples=8, method="uniform"), make_batch(rewards, [2] * 16))
    for experience in actual[:4]:
        assert (experience.advantages == 0).all()
    for a, b in zip(actual[4:], expected[4:], strict=True):
        assert torch.equal(a.advantages, b.advantages)


def test_the_share_of_flat_groups_is_a_metric():
    maker = make_maker(samples=2)
    run(maker, make_batch([1.0, 1.0, 0.0, 1.0, 2.0, 2.0, 0.5, 0.5], [2] * 8))
    assert maker.metrics["flat_groups"] == 0.75


def test_prompts_are_counted_over_batches():
    maker = make_maker(samples=2)
    experiences, scores = make_batch([1.0, 0.0] * 4, [2] * 8)
    for experience in experiences:  # micro-batches of one group each
        experience.info["row"] = [experience.index[0] // 2] * 2
        experience.info["episode_prompts_drawn"] = torch.full((2,), 5.0)
    run(maker, (experiences, scores))
    assert (maker.metrics["prompts_repeated"], maker.metrics["prompts_lost"]) == (0, 1), "four of five were trained"
    assert "row" not in experiences[0].info


def test_a_dropped_prompt_is_not_lost():
    maker = make_maker(samples=2)
    for drawn, dropped, row in [(1.0, 0.0, 0), (3.0, 1.0, 2)]:  # of one generation, row 1 was dropped
        experiences, scores = make_batch([1.0, 0.0], [2] * 2)
        experiences[0].info |= {
            "row": [row] * 2,
            "episode_prompts_drawn": torch.full((2,), drawn),
            "prompts_dropped": torch.full((2,), dropped),
        }
        run(maker, (experiences, scores))
        assert (maker.metrics["prompts_repeated"], maker.metrics["prompts_lost"]) == (0, 0)


@pytest.mark.parametrize("samples", [1, 4])
def test_estimators_that_compare_no_group_keep_the_advantages_of_equal_rewards(samples):
    rewards = [1.0] * 4 + [0.0] * 4
    stock, ours = make_maker(RemoteExperienceMaker, samples), make_maker(samples=samples, method="uniform")
    for maker in (stock, ours):
        maker.args.algo.advantage.estimator = maker.advantage_estimator = "reinforce"
    expected = stock.compute_advantages_and_returns(make_batch(rewards, [2] * 8)[0])
    actual = run(ours, make_batch(rewards, [2] * 8))
    assert actual[0].advantages.abs().max() > 0.1
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a.advantages, b.advantages)


def test_flat_groups_are_found_when_micro_batches_are_out_of_order():
    rewards = [1.0, 1.0, 0.0, 1.0]
    experiences, scores = make_batch(rewards, [2] * 4)
    maker = make_maker(samples=2, method="uniform")
    result = run(maker, (experiences[::-1], scores[::-1]))
    assert (result[1].advantages == 0).all()
    assert (result[0].advantages != 0).any()


def test_pepo_advantage_is_the_response_advantage_times_the_formula():
    progress = 0.25
    maker = make_maker(method="pepo", settings={"alpha": 0.3, "temperature": 0.2})
    batch = make_batch(REWARDS, LENGTHS, progress=progress)
    scores = batch[1]
    response = make_maker(RemoteExperienceMaker).compute_advantages_and_returns(make_batch(REWARDS, LENGTHS)[0])
    for experience, plain, score in zip(run(maker, batch), response, scores, strict=True):
        weights = load_weighting("pepo", {"alpha": 0.3, "temperature": 0.2})(
            {"visual_similarity": score.visual_similarity, "entropy": score.entropy}, experience.action_mask
        )
        expected = plain.advantages * ((1 - progress) + progress * weights)
        valid = experience.action_mask.bool()
        torch.testing.assert_close(experience.advantages[valid], expected[valid])


def test_constant_schedule_weights_from_the_first_step():
    linear = run(make_maker(settings={"temperature": 0.1}), make_batch(REWARDS, LENGTHS, progress=1.0))
    constant = run(
        make_maker(settings={"temperature": 0.1}, schedule="constant"), make_batch(REWARDS, LENGTHS, progress=0.0)
    )
    for a, b in zip(linear, constant, strict=True):
        assert torch.equal(a.advantages, b.advantages)


def test_high_entropy_thresholds_over_the_batch_and_ignores_the_schedule():
    experiences, scores = make_batch(REWARDS, LENGTHS, progress=0.0)
    entropy = torch.cat([s.entropy[e.action_mask.bool()] for s, e in zip(scores, experiences, strict=True)])
    result = run(make_maker(method="high_entropy"), (experiences, scores))
    kept = torch.cat([e.advantages[e.action_mask.bool()] != 0 for e in result])
    # 26 tokens: the quantile lies at position 20 of 0..25, so six stay (rows with advantage 0 hide some of them).
    threshold = entropy.sort().values[20]
    assert len(entropy) == 26
    assert (entropy[kept] >= threshold).all()
    assert kept.sum() <= 6


def test_prompts_without_an_image():
    batch = lambda: make_batch(REWARDS, LENGTHS, with_image=lambda row: False, progress=1.0)  # noqa: E731
    even = run(make_maker(method="uniform"), batch())
    for a, b in zip(run(make_maker(no_image="uniform"), batch()), even, strict=True):
        assert torch.equal(a.advantages, b.advantages)
    with pytest.raises(ValueError, match="8 responses .* without an image"):
        run(make_maker(no_image="error"), batch())


def test_truncated_responses_carry_no_loss_but_count_in_their_group():
    plain = run(make_maker(method="uniform"), make_batch(REWARDS, LENGTHS))
    maker = make_maker(method="uniform")
    maker.args.algo.overlong_filtering_enable = True
    filtered = run(maker, make_batch(REWARDS, LENGTHS, truncated={1, 4}))
    assert maker.metrics["overlong_filtered"] == 2
    for number, (a, b) in enumerate(zip(filtered, plain, strict=True)):
        for row in range(2):
            masked = 2 * number + row in {1, 4}
            assert a.action_mask[row].sum() == (0 if masked else b.action_mask[row].sum())
            assert torch.equal(a.advantages[row], b.advantages[row])


def test_a_batch_in_which_everything_is_truncated_has_no_token_metrics():
    maker = make_maker()
    maker.args.algo.overlong_filtering_enable = True
    run(maker, make_batch(REWARDS, LENGTHS, truncated=range(8)))
    others = {name: maker.metrics[name] for name in ("prompts_repeated", "prompts_lost")}
    assert maker.metrics == {"progress": 0.0, "overlong_filtered": 8, "flat_groups": 0.0} | others


def test_metrics_say_what_the_weights_look_like():
    maker = make_maker(method="uniform")
    run(maker, make_batch(REWARDS, LENGTHS, progress=0.5))
    assert maker.metrics["progress"] == 0.5
    assert maker.metrics["weight_min"] == maker.metrics["weight_p50"] == maker.metrics["weight_max"] == 1.0
    assert maker.metrics["weight_entropy_corr"] == 0.0
    assert maker.metrics["rollout_trainer_gap"] == pytest.approx(0.125)


def test_progress_and_task_do_not_travel_on():
    result = run(make_maker(), make_batch(REWARDS, LENGTHS, progress=0.5))
    assert all(not {"progress", "task"} & experience.info.keys() for experience in result)


def record(run_dir, batch, overlong_filtering=False, **pepo):
    """Experiences of one step that has been recorded in `run_dir`."""
    maker = make_maker(**pepo)
    maker.args.run.dir = str(run_dir)
    maker.args.logger.tokens_every = 1
    maker.args.algo.overlong_filtering_enable = overlong_filtering
    maker.token_recorder.tokenizer = train_tokenizer(["Find x."])
    maker.step = 1
    experiences = run(maker, batch)
    maker.token_recorder.finish()
    return experiences


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_records_hold_what_is_trained_on(tmp_path, schedule):
    batch = make_batch(REWARDS, LENGTHS, progress=0.25)
    experiences = record(tmp_path, batch, settings={"temperature": 0.2}, schedule=schedule)
    stock = make_maker(RemoteExperienceMaker).compute_advantages_and_returns(make_batch(REWARDS, LENGTHS)[0])
    (records,) = read_steps(tmp_path)
    rows = iter(records.table.to_pylist())
    for experience, before, scores in zip(experiences, stock, batch[1], strict=True):
        for i in range(2):
            row, mask = next(rows), experience.action_mask[i].bool()
            p = row["progress"]
            assert p == (0.25 if schedule == "linear" else 1.0)
            assert row["advantage"] == experience.advantages[i][mask].tolist()
            assert row["advantage_before"] == before.advantages[i][mask].tolist()
            assert row["similarity"] == scores.visual_similarity[i][mask].tolist()
            assert row["entropy"] == scores.entropy[i][mask].tolist()
            expected = [a * (1 - p + p * w) for a, w in zip(row["advantage_before"], row["weight"], strict=True)]
            assert row["advantage"] == pytest.approx(expected, abs=1e-6)
            assert sum(row["weight"]) / len(row["weight"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("no_image", ["uniform", "sequence"])
@pytest.mark.parametrize("method", BUILT_IN)
def test_records_give_the_trainers_weights_back(tmp_path, method, no_image):
    """With responses that overlong filtering takes out, and prompts without an image."""
    batch = make_batch(REWARDS, LENGTHS, with_image=lambda row: row < 4, truncated={1, 5})
    settings = {"alpha": 0.3, "temperature": 0.2}
    record(tmp_path, batch, overlong_filtering=True, method=method, no_image=no_image, settings=settings)
    (recorded,) = load_batches(tmp_path)
    weights = recomputed_weights(recorded, method, recorded.settings["settings"])
    torch.testing.assert_close(weights, recorded.weight, rtol=0, atol=1e-6)
    assert not recorded.mask[[1, 5]].any() and not recorded.weight[[1, 5]].any()


def test_a_filtered_response_is_recorded_without_advantage(tmp_path):
    record(tmp_path, make_batch(REWARDS, LENGTHS, truncated={0}), overlong_filtering=True)
    (records,) = read_steps(tmp_path)
    row = records.table.to_pylist()[0]
    assert row["truncated"] and len(row["token_ids"]) == LENGTHS[0]
    assert set(row["advantage"]) == set(row["weight"]) == {0.0}
    assert row["advantage_before"][0] != 0


def test_continuous_rewards_are_compared_in_float64():
    """Neighbouring float64 numbers that float32 rounds apart, as two computations of one overlap may give."""
    middle = (np.float64(np.float32(1.7)) + np.float64(np.nextafter(np.float32(1.7), np.float32(2)))) / 2
    low, high = np.nextafter(middle, 1), np.nextafter(middle, 2)
    assert np.float32(low) != np.float32(high)
    rewards = [low, high, low, high, 1.2, 1.2, 1.6, 1.6]
    experiences, scores = make_batch(rewards, LENGTHS)
    for experience in experiences:
        experience.rewards = torch.tensor([rewards[row] for row in experience.index], dtype=torch.float64)
    noise, *_ = result = [row for e in run(make_maker(method="uniform"), (experiences, scores)) for row in e.advantages]
    assert all(advantages.abs().max() < 1e-6 for advantages in result[:4]), noise
    # (1.2 - 1.4) / 0.2309, the sample deviation of 1.2, 1.2, 1.6, 1.6.
    assert result[4][-1].item() == pytest.approx(-0.8660, abs=1e-4)
    assert result[4].dtype == torch.float32

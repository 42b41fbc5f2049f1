"""Which groups make a batch. Sampling itself is tested end to end; here an engine answers from a list."""

import random
from collections import defaultdict
from contextlib import suppress
from types import SimpleNamespace

import pytest

from pepo_rlhf.config import Config
from pepo_rlhf.controller.engines import EngineDied
from pepo_rlhf.controller.prompts import Prompt, PromptSchedule
from pepo_rlhf.controller.rollouts import Generation, Rollouts, has_zero_std
from pepo_rlhf.workers.responses import Group, Response

FLAT, SPREAD = [1.0, 1.0], [0.0, 1.0]
OUTSIDE = "{folder}/grounded.py:Grounded"
GROUNDED = """
from pepo_rlhf.core.token_weighting import TokenWeighting


class Grounded(TokenWeighting):
    signals = ("image_dependence",)

    def weigh(self, signals, mask):
        return mask.float()
"""


def group_of(rewards, error=None):
    return Group([1], None, [Response([5], [-1.0], False, reward, {}, error, 0) for reward in rewards])


class ListedRollouts:
    """Answers the prompt of each position with a group from a list, and notes the positions that were asked for."""

    def __init__(self, config, groups, deaths=()):
        self.config, self.groups, self.positions = config, groups, []
        self.processor, self.deaths = SimpleNamespace(pad_token_id=0), set(deaths)

    def ask(self, prompts, first, groups):
        died = False
        for index in range(len(prompts)):
            if index in groups:
                continue
            self.positions.append(first + index)
            if first + index in self.deaths:
                self.deaths.remove(first + index)
                died = True
            else:
                groups[index] = group_of(self.groups[first + index])
        if died:
            raise EngineDied


class InOrder(PromptSchedule):
    """Prompts in the order of their rows."""

    def draw(self, position, num_prompts, episode):
        end = (episode + 1) * self.num_per_episode
        return [self.prompts[p % self.num_per_episode] for p in range(position, min(position + num_prompts, end))]


def make(groups, size, filtering=False, max_resamples=3, num_episodes=1, deaths=()):
    config = Config()
    config.rollout.batch_size, config.rollout.n_samples_per_prompt = 1, 2  # an episode of any length
    config.algo.dynamic_filtering_enable, config.algo.dynamic_filtering_max_resamples = filtering, max_resamples
    config.train.num_episodes = num_episodes
    prompts = [Prompt(row, "here", f"prompt {row}", "", ()) for row in range(len(groups))]
    schedule = InOrder(prompts, config)
    config.rollout.batch_size = size
    return ListedRollouts(config, groups, deaths), schedule


def rows(generation):
    return [prompt.row for prompt in generation.batch.prompts[::2]]


def run(rollouts, schedule, position=0):
    generation = Generation(rollouts, schedule, position)
    generation.run()
    return generation


class NotedCalls:
    """An engine that answers nothing, and engines whose calls are noted."""

    def __init__(self):
        self.calls = []
        self.generate_group = SimpleNamespace(remote=lambda **arguments: self.calls.append(arguments))

    def of_prompt(self, index):
        return self

    def collect(self, call, indices, answers):
        for index in indices:
            call(index)


@pytest.mark.parametrize("method", ["pepo", OUTSIDE])
def test_images_are_perturbed_for_a_weighting_that_asks_for_it_and_in_training_alone(tmp_path, method):
    (tmp_path / "grounded.py").write_text(GROUNDED)
    config = Config()
    config.pepo.method, config.pepo.perturbation = method.format(folder=tmp_path), "swapped"
    engines = NotedCalls()
    rollouts = Rollouts(config, engines, SimpleNamespace(image_token_id=None))
    prompts = [Prompt(row, "here", "", "", images) for row, images in enumerate([("a",), (), ("a",), ("b",)])]
    rollouts.ask(prompts, 0, {})
    perturbations = [call["perturbation"] for call in engines.calls]
    if method == "pepo":
        assert perturbations == [None] * 4
    else:
        assert [one.kind for one in perturbations] == ["swapped"] * 4
        # The next prompt's with another image, in turn.
        assert [perturbations[row].other_images for row in (0, 2, 3)] == [("b",), ("b",), ("a",)]
        assert len({one.seed for one in perturbations}) == 4
    rollouts._ask(prompts, 0, {}, 1.0, 1)  # as `evaluate` does
    assert all(call["perturbation"] is None for call in engines.calls[4:])


def test_groups_keep_the_order_of_their_prompts():
    generation = run(*make([[0.0, float(i)] for i in range(1, 5)], 4))
    assert rows(generation) == [0, 1, 2, 3]
    assert (generation.position, generation.is_done) == (4, True)


def test_groups_without_spread_are_replaced_and_counted():
    generation = run(*make([FLAT, SPREAD, FLAT, SPREAD], 2, filtering=True))
    assert rows(generation) == [1, 3]
    draw = generation.batch.draw
    assert (draw.num_zero_std_dropped, draw.num_zero_std_kept, draw.num_drawn_in_episode) == (2, 0, 4)


def test_without_filtering_groups_without_spread_stay():
    assert rows(run(*make([FLAT, SPREAD], 2))) == [0, 1]


@pytest.mark.parametrize("max_resamples", [0, 2])
def test_resampling_is_bounded_and_dropped_groups_then_fill_the_batch(max_resamples):
    rollouts, schedule = make([SPREAD] + [FLAT] * 20, 3, filtering=True, max_resamples=max_resamples)
    generation = run(rollouts, schedule)
    assert rows(generation) == [0, 1, 2]
    assert generation.position == 3 + 2 * max_resamples
    draw = generation.batch.draw
    assert (draw.num_zero_std_dropped, draw.num_zero_std_kept) == (2 * max_resamples, 2)


def test_an_incomplete_last_batch_of_an_episode_is_not_trained_on():
    generation = run(*make([SPREAD, FLAT], 3, filtering=True, num_episodes=2))
    assert (generation.batch, generation.position, generation.is_done) == (None, 2, True)


def test_positions_and_counts_run_on_over_batches_and_episodes():
    rollouts, schedule = make([SPREAD, FLAT, SPREAD, SPREAD], 2, filtering=True, num_episodes=2)
    rollouts.groups = rollouts.groups * 2
    first = run(rollouts, schedule)
    assert (rows(first), first.position) == ([0, 2], 3)
    later = run(rollouts, schedule, 4)
    assert rollouts.positions == [0, 1, 2, 4, 5, 6]
    draw = later.batch.draw
    assert (draw.position, draw.episode, draw.num_drawn_in_episode) == (4, 1, 3)


def test_beyond_the_run_there_is_nothing_to_generate():
    generation = Generation(*make([SPREAD, SPREAD], 2), position=2)
    assert generation.is_done and generation.batch is None


def test_what_an_engine_that_died_had_not_answered_is_asked_again_and_nothing_else():
    rollouts, schedule = make([FLAT, SPREAD, SPREAD, SPREAD], 2, filtering=True, deaths={1, 2})
    generation = Generation(rollouts, schedule, 0)
    generation.run_as_far_as_possible()
    assert not generation.is_done
    with suppress(EngineDied):
        generation.run()
    generation.run()
    assert rows(generation) == [1, 2]
    assert rollouts.positions == [0, 1, 1, 2, 2]


class Refilled(InOrder):
    """Refills in the order of the rows too, with positions of their own."""

    def draw_refill(self, position, num_prompts):
        return [self.prompts[place % len(self.prompts)] for place in range(position, position + num_prompts)]


def refilling(is_flat, num_prompts, size, max_resamples=3):
    """Rollouts and schedule of a run that refills from the cycle; is_flat: of a position, planned or refilled."""
    rollouts, _ = make([SPREAD], size, filtering=True, max_resamples=max_resamples)
    rollouts.config.algo.dynamic_filtering_refill = "cycle"
    rollouts.groups = defaultdict(lambda: SPREAD, {place: FLAT for place in range(9999) if is_flat(place)})
    prompts = [Prompt(row, "here", f"prompt {row}", "", ()) for row in range(num_prompts)]
    return rollouts, Refilled(prompts, rollouts.config)


def test_refills_are_whole_batches_of_the_cycle_with_seeds_and_positions_of_their_own():
    rollouts, schedule = refilling({0, 4, 5}.__contains__, num_prompts=4, size=2)
    first = run(rollouts, schedule)
    # Planned 0 (flat) and 1; then the cycle's 0 and 1, at positions after all 4 planned ones, both flat; then 2 and 3.
    assert rollouts.positions == [0, 1, 4, 5, 6, 7]
    assert (rows(first), first.position, first.refill_position) == ([1, 2], 2, 4)
    draw = first.batch.draw
    assert (draw.num_zero_std_dropped, draw.num_zero_std_kept, draw.num_refilled, draw.num_surplus) == (3, 0, 4, 1)
    second = first.following()
    second.run()
    assert (rows(second), second.position, second.refill_position) == ([2, 3], 4, 4)
    assert second.following().is_done


def test_after_the_last_try_dropped_groups_fill_the_batch():
    rollouts, schedule = refilling(lambda place: place != 1, num_prompts=4, size=2, max_resamples=3)
    generation = run(rollouts, schedule)
    assert (rows(generation), generation.refill_position) == ([1, 0], 6)
    assert generation.batch.draw.num_zero_std_kept == 1


@pytest.mark.parametrize(("flat_rate", "updates_of_epoch"), [(0.3, 188), (0.7, 105)])
def test_the_cycle_makes_every_planned_update_and_the_epoch_ends_early(flat_rate, updates_of_epoch):
    """2101 problems in batches of 8 are 262 planned updates; those of an epoch come from a simulation of another's."""
    draw = random.Random(0)
    flat = {place for place in range(99999) if draw.random() < flat_rate}

    def count(rollouts, schedule):
        generation, num_updates = run(rollouts, schedule), 0
        while generation.batch is not None:
            num_updates += 1
            generation = generation.following()
            generation.run()
        return num_updates

    assert count(*refilling(flat.__contains__, num_prompts=2101, size=8)) == 262
    rollouts, schedule = refilling(flat.__contains__, num_prompts=2101, size=8)
    rollouts.config.algo.dynamic_filtering_refill = "epoch"
    assert count(rollouts, schedule) == pytest.approx(updates_of_epoch, abs=4)


def test_a_response_without_a_grade_gives_no_group_spread():
    group = group_of([1.0, 1.0])
    failed = Response([5], [-1.0], False, 0.0, {}, "KeyError", 0)
    assert has_zero_std(group._replace(responses=[*group.responses, failed]))
    assert not has_zero_std(group_of(SPREAD))


def test_seeds_differ_between_prompts_and_leave_room_for_samples():
    rollouts = Rollouts(Config(), None, SimpleNamespace())
    seeds = [rollouts._sampling_params(position, 1.0).seed for position in range(50)]
    assert len(set(seeds)) == 50
    assert seeds == [rollouts._sampling_params(position, 1.0).seed for position in range(50)]
    assert all(seed % 2**20 == 0 and 0 <= seed < 2**63 for seed in seeds)


def test_sampling_follows_the_settings_of_the_rollouts():
    rollouts = Rollouts(Config(), None, SimpleNamespace())
    assert rollouts._sampling_params(0, 1.0).top_k == 0
    rollouts.config.rollout.top_k, rollouts.config.rollout.top_p = 50, 0.9
    params = rollouts._sampling_params(0, 0.7)
    assert (params.top_k, params.top_p, params.temperature) == (50, 0.9, 0.7)

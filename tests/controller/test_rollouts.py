"""Which groups make a batch. Sampling itself is tested end to end; here the groups are made by hand."""

from types import SimpleNamespace

import pytest
import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller.rollouts import PepoSamplesGenerator


class ListedGenerator(PepoSamplesGenerator):
    """Gives out groups with the rewards that its prompts stand for, and notes the positions that were asked for."""

    def _sample_groups(self, prompts, labels, images, first, **generate_kwargs):
        self.positions = getattr(self, "positions", []) + list(range(first, first + len(prompts)))
        return [
            [Experience(prompts=[str(rewards)], rewards=torch.tensor([reward]), info={}) for reward in rewards]
            for rewards in prompts
        ]


class Loader(SimpleNamespace):
    def __len__(self):
        return 4


class LoaderOf(list):
    dataset = SimpleNamespace(num_skipped=0)


FLAT, SPREAD = [1.0, 1.0], [0.0, 1.0]


def generator(filtering=False, max_resamples=3):
    args = to_arguments(Config())
    args.algo.dynamic_filtering_max_resamples = max_resamples
    loader = Loader(dataset=SimpleNamespace(num_skipped=3))
    made = ListedGenerator(SimpleNamespace(args=args), loader, None, None, [])
    made.filtering = filtering
    return made


def draw(made, groups, num_prompts):
    rows = iter([([""], [rewards], [""], [None], [number]) for number, rewards in enumerate(groups)])
    experiences, num_drawn, exhausted = made._generate_vllm(rows, num_prompts, made.filtering)
    return [experience.prompts[0] for experience in experiences[::2]], num_drawn, exhausted, experiences


def test_groups_keep_the_order_of_their_prompts():
    groups = [[0.0, float(i)] for i in range(4)]
    drawn, num_drawn, exhausted, _ = draw(generator(), groups, 4)
    assert drawn == [str(group) for group in groups]
    assert (num_drawn, exhausted) == (4, False)


def test_flat_groups_are_replaced_and_counted():
    drawn, num_drawn, _, experiences = draw(generator(True), [FLAT, SPREAD, FLAT, SPREAD], 2)
    assert drawn == [str(SPREAD)] * 2
    assert num_drawn == 4
    assert experiences[0].info["flat_groups_dropped"] == 2
    assert experiences[0].info["flat_groups_kept"] == 0


def test_the_pass_rate_is_of_groups():
    made = generator()
    made.args.algo.dynamic_filtering_enable = True
    made.args.rollout.n_samples_per_prompt = 2
    made.args.rollout.batch_size = made.args.rollout.vllm_generate_batch_size = 2
    groups = [FLAT, SPREAD, FLAT, SPREAD]
    made.prompts_dataloader = LoaderOf(([""], [group], [""], [None], [number]) for number, group in enumerate(groups))
    _, pass_rate, num_drawn, _ = made.generate_samples()
    assert (pass_rate, num_drawn) == (50.0, 4)


def test_every_sample_carries_the_number_of_skipped_rows():
    *_, experiences = draw(generator(), [SPREAD, SPREAD], 2)
    assert [experience.info["rows_skipped"].item() for experience in experiences] == [3.0] * 4


def test_every_sample_carries_the_data_source_of_its_row():
    rows = iter([([name], [SPREAD], [""], [None], [0]) for name in ("geometry", "counting")])
    experiences, *_ = generator()._generate_vllm(rows, 2, False)
    assert [experience.info["task"] for experience in experiences] == [["geometry"]] * 2 + [["counting"]] * 2


def test_every_sample_carries_its_rows_number_and_what_the_episode_has_drawn():
    made = generator(True)
    *_, experiences = draw(made, [FLAT, SPREAD, SPREAD], 2)
    assert [experience.info["row"] for experience in experiences] == [[1], [1], [2], [2]]
    *_, later = draw(made, [SPREAD, SPREAD, SPREAD], 3)  # an episode has four prompts
    seen = [(e.info["episode"].item(), e.info["episode_prompts_drawn"].item()) for e in (experiences[-1], later[-1])]
    assert seen == [(0, 3), (1, 2)]


def test_of_a_generation_that_makes_two_batches_the_last_answers_for_what_it_dropped():
    *_, experiences = draw(generator(True), [FLAT, SPREAD, SPREAD], 2)
    first, last = (
        {key: e.info[key].item() for key in ("episode_prompts_drawn", "prompts_dropped")} for e in experiences[::2]
    )
    assert first == {"episode_prompts_drawn": 1, "prompts_dropped": 0}  # one trained, none lost
    assert last == {"episode_prompts_drawn": 3, "prompts_dropped": 1}  # two trained and one dropped


def test_without_filtering_flat_groups_stay():
    drawn, num_drawn, _, _ = draw(generator(False), [FLAT, SPREAD], 2)
    assert (drawn, num_drawn) == ([str(FLAT), str(SPREAD)], 2)


@pytest.mark.parametrize("max_resamples", [0, 2])
def test_resampling_is_bounded_and_flat_groups_then_fill_the_batch(max_resamples):
    drawn, num_drawn, _, experiences = draw(generator(True, max_resamples), [SPREAD] + [FLAT] * 20, 3)
    assert drawn == [str(SPREAD), str(FLAT), str(FLAT)]
    assert num_drawn == 3 + 2 * max_resamples
    assert experiences[0].info["flat_groups_kept"] == 2
    assert experiences[0].info["flat_groups_dropped"] == 2 * max_resamples


def test_an_incomplete_last_batch_is_not_trained_on():
    drawn, num_drawn, exhausted, _ = draw(generator(True), [SPREAD, FLAT], 3)
    assert (drawn, num_drawn, exhausted) == ([], 2, True)


def test_an_incomplete_last_batch_of_evaluation_counts():
    made = generator()
    rows = made._eval_dataloader_iter = iter([([""], [SPREAD], [""], [None])])
    experiences, num_drawn, exhausted = made._generate_vllm(rows, 3, False)
    assert (len(experiences), num_drawn, exhausted) == (2, 1, True)
    assert made.num_prompts_drawn == 0, "evaluation must not move the training progress"


def test_positions_run_on_over_batches_and_resamples():
    made = generator(True)
    draw(made, [SPREAD, FLAT, SPREAD], 2)
    draw(made, [SPREAD, SPREAD], 2)
    assert made.positions == [0, 1, 2, 3, 4]


def test_seeds_differ_between_prompts_and_leave_room_for_samples():
    made = generator()
    made.tokenizer = SimpleNamespace()
    kwargs = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8}
    seeds = [made._sampling_params(position, **kwargs).seed for position in range(50)]
    assert len(set(seeds)) == 50
    assert seeds == [made._sampling_params(position, **kwargs).seed for position in range(50)]
    assert all(seed % 2**20 == 0 and 0 <= seed < 2**63 for seed in seeds)

"""Samples: prompts to the rollout workers and groups of responses back, in the order of the prompts."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils.logging_utils import init_logger
from vllm import SamplingParams

from pepo_rlhf.controller.grader_errors import GraderErrors, make_neutral
from pepo_rlhf.controller.recovery import EngineRecovery
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.workers.image_tensors import share_image_tensors

logger = init_logger(__name__)
_SAMPLE_SEED_BITS = 20  # room for the sample index below a prompt's seed


class PepoSamplesGenerator(SamplesGenerator):
    """Upstream's generator with reproducible batches.

    Upstream batches groups as they happen to finish; here they keep the order in which their prompts were drawn, and
    each response has a seed of its own, so that a batch depends on nothing but run seed and position in the run.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.num_prompts_drawn = 0  # of the training data, over all episodes
        self.engine_recovery = EngineRecovery(self.vllm_engines)

    def generate_samples(self, **generate_kwargs) -> tuple[list[Experience], float | None, int, bool]:
        """Upstream's, whose pass rate is of responses by prompts; here it is the percentage of groups kept."""
        samples, pass_rate, num_drawn, exhausted = super().generate_samples(**generate_kwargs)
        if pass_rate is not None:
            pass_rate /= self.args.rollout.n_samples_per_prompt
        return samples, pass_rate, num_drawn, exhausted

    def _generate_vllm(
        self, dataloader_iter, num_prompts: int, dynamic_filtering: bool, **generate_kwargs
    ) -> tuple[list[Experience], int, bool]:
        """Draws prompts until `num_prompts` groups are accepted or the data ends.

        Dynamic filtering drops flat groups, whose rewards are all equal: they carry no gradient. (Upstream tests
        whether the mean lies between two bounds, which drops good groups when rewards are sums.) After
        `--algo.dynamic_filtering_max_resamples` further rounds of prompts, dropped groups fill the batch up.

        Returns:
            experiences of the accepted groups, group by group; number of prompts drawn; whether the data ended.
        """
        training = dataloader_iter is not getattr(self, "_eval_dataloader_iter", None)
        accepted: list[list[Experience]] = []
        flat: list[list[Experience]] = []
        num_drawn, exhausted = 0, False
        self._grader_errors = GraderErrors(self.args.reward.max_error_rate)
        for _ in range(1 + self.args.algo.dynamic_filtering_max_resamples):
            # The loader's batches have one row. (Upstream's function for this leaves the data source out.)
            rows = list(itertools.islice(dataloader_iter, num_prompts - len(accepted)))
            exhausted = len(rows) < num_prompts - len(accepted)
            prompts, labels, images = ([row[column][0] for row in rows] for column in (1, 2, 3))
            first = self.num_prompts_drawn if training else num_drawn
            num_drawn += len(prompts)
            if training:
                self.num_prompts_drawn += len(prompts)
            groups = self._sample_groups(prompts, labels, images, first, **generate_kwargs)
            for row, group in zip(rows, groups, strict=True):
                for experience in group:
                    experience.info["task"] = [row[0][0]]
                    if training:
                        experience.info["row"] = [row[4][0]]
                is_flat = len({experience.rewards.item() for experience in group}) == 1
                (flat if dynamic_filtering and is_flat else accepted).append(group)
            if len(accepted) == num_prompts or exhausted:
                break
        if training:
            accepted = self._whole_batch(accepted, flat, num_prompts)
        return list(itertools.chain.from_iterable(accepted)), num_drawn, exhausted

    def _whole_batch(self, accepted: list, flat: list, num_prompts: int) -> list[list[Experience]]:
        """`num_prompts` groups, flat ones at the end where the others do not suffice, or none at all."""
        fill = flat[: num_prompts - len(accepted)]
        num_dropped = len(flat) - len(fill)
        batch = accepted + fill
        if len(batch) < num_prompts:
            if batch:
                logger.warning(f"the data ended: {len(batch)} groups of an incomplete batch are not trained on")
            return []
        episode, last = divmod(self.num_prompts_drawn - 1, len(self.prompts_dataloader))
        for position, group in enumerate(batch, start=1):
            # A generation may make several training batches: the one with its last group answers for the dropped.
            is_last = position == len(batch)
            num_drawn = last + 1 - (0 if is_last else num_dropped + len(batch) - position)
            info = {
                "episode": episode,
                "episode_prompts_drawn": num_drawn,
                "prompts_dropped": num_dropped if is_last else 0,
                "flat_groups_dropped": num_dropped,
                "flat_groups_kept": len(fill),
                "rows_skipped": self.prompts_dataloader.dataset.num_skipped,
                "engine_restarts": self.engine_recovery.num_restarts,
            }
            for experience in group:
                experience.info |= {name: torch.tensor([float(value)]) for name, value in info.items()}
        return batch

    def _sample_groups(self, prompts, labels, images, first: int, **generate_kwargs) -> list[list[Experience]]:
        def ask(index: int):
            return self.vllm_engines[index % len(self.vllm_engines)].generate_responses.remote(
                prompt=prompts[index],
                label=labels[index],
                images=images[index],
                sampling_params=self._sampling_params(first + index, **generate_kwargs),
                max_length=generate_kwargs["max_len"],
                num_samples=generate_kwargs.get("n_samples_per_prompt", self.args.rollout.n_samples_per_prompt),
            )

        responses = self.engine_recovery.collect(ask, len(prompts))
        for group in responses:
            share_image_tensors(group)
        self._grader_errors.count(itertools.chain.from_iterable(responses))
        groups = [[self._to_experience(response, **generate_kwargs) for response in group] for group in responses]
        num_prompts = len(self.prompts_dataloader) * self.args.train.num_episodes
        for position, group in enumerate(groups, start=first):
            make_neutral(group)
            for experience in group:
                experience.info["progress"] = torch.tensor([position / num_prompts])
        return groups

    def _to_experience(self, response: dict, **generate_kwargs) -> Experience:
        """Upstream's, with the reward in float64, the type that group statistics are then computed in.

        In float32 two overlaps (IoU) that differ in their last bit may differ by 1e-7, which group_norm, dividing by
        (std + 1e-9), would turn into advantages of 1 and -1.
        """
        experience = self._process_response_into_experience(response, **generate_kwargs)
        experience.rewards = torch.tensor([response["reward"]], dtype=torch.float64)
        return experience

    def _sampling_params(self, position: int, **generate_kwargs) -> SamplingParams:
        entropy = np.random.SeedSequence([self.args.train.seed, position]).generate_state(1, dtype=np.uint64)[0]
        return SamplingParams(
            temperature=generate_kwargs["temperature"],
            top_p=generate_kwargs["top_p"],
            max_tokens=generate_kwargs["max_new_tokens"],
            min_tokens=1,
            logprobs=0,  # of the sampled token alone; always asked for, since rollout_trainer_gap needs them
            skip_special_tokens=False,
            logit_bias=forbidden_tokens(self.tokenizer),
            seed=int(entropy) >> (_SAMPLE_SEED_BITS + 1) << _SAMPLE_SEED_BITS,
        )


def forbidden_tokens(processor) -> dict[int, float] | None:
    """Biases against image and video placeholders: the trainer takes a sampled one for an image, and crashes."""
    return {token_id: -100.0 for token_id in vision_token_ids(processor)} or None

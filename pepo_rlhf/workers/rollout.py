"""The rollout worker: a vLLM engine that answers prompts with images, and has the answers graded."""

from __future__ import annotations

import asyncio
import logging
from copy import deepcopy
from typing import Any

import ray
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.utils.utils import get_tokenizer
from vllm import SamplingParams

from pepo_rlhf.compat import cpu, log_files, parent_death
from pepo_rlhf.config.learning import Reward
from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.perturbations import Perturbation, perturb
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.data.vision_tokens import collapse_images
from pepo_rlhf.rewards import Grade, RewardService
from pepo_rlhf.weight_sync.receiver import WeightReceiver
from pepo_rlhf.workers.responses import Group, Response, require_same_prompt
from pepo_rlhf.workers.vision_probe import VisionProbe

logger = logging.getLogger(__name__)


class RolloutWorker(WeightReceiver, VisionProbe, RolloutRayActor.__ray_metadata__.modified_class):
    """OpenRLHF's rollout actor. A prompt is encoded once for its samples, and grader errors are never swallowed.

    Args:
        number: of the engine, from 0.
        reward: settings of the RewardService.
        min_pixels, max_pixels: for `pixel_limits`, which engine and trainer share.
        engine_kwargs: for vLLM's AsyncEngineArgs, as upstream; `model` names the policy's folder or hub id.
    """

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self,
        number: int,
        reward: Reward,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        **engine_kwargs: Any,
    ) -> None:
        log_files.name(f"rollout_{number}")
        self.processor = get_tokenizer(engine_kwargs["model"], None)
        self.pixel_limits = pixel_limits(self.processor, min_pixels, max_pixels)
        engine_kwargs["mm_processor_kwargs"] = self.pixel_limits
        self.rewards = RewardService(reward)
        parent_death.bind_children()
        await super().__init__(**engine_kwargs, **cpu.engine_arguments())

    async def check_health(self) -> str:
        """Return an id that differs after a restart; raise EngineDeadError if the engine's process is gone."""
        await self.llm.check_health()
        return ray.get_runtime_context().get_worker_id()

    async def generate(
        self,
        prompt_token_ids: list[int],
        sampling_params: SamplingParams,
        multi_modal_data: dict[str, Any] | None = None,
    ) -> Any:
        """Return vLLM's output for a prompt; upstream collapses images in Qwen's prompts only."""
        if multi_modal_data:
            prompt_token_ids = collapse_images(prompt_token_ids, self.processor)
        return await super().generate(prompt_token_ids, sampling_params, multi_modal_data)

    async def generate_group(
        self,
        prompt: str,
        label: str,
        images: list[str | bytes],
        sampling_params: SamplingParams,
        max_length: int,
        num_samples: int,
        perturbation: Perturbation | None = None,
    ) -> Group:
        """Sample `num_samples` responses to one prompt, sample i with seed `sampling_params.seed + i`, and grade them.

        With a perturbation the group also has the tensors of the perturbed images, which no response is sampled from.

        Raises:
            ValueError: if prompt and response do not fit into `max_length` tokens, or the engine's prompt is not the
                trainer's.
        """
        pictures = [decode_image(image) for image in images]
        prompt_ids, image_tensors = encode_prompt(self.processor, prompt, pictures, self.pixel_limits)
        params = deepcopy(sampling_params)
        if params.max_tokens is None:
            params.max_tokens = max_length - len(prompt_ids)
        if params.max_tokens < 1 or len(prompt_ids) + params.max_tokens > max_length:
            raise ValueError(
                f"a prompt of {len(prompt_ids)} tokens (visual ones included) and a response of up to "
                f"{params.max_tokens} exceed --data.max_len {max_length}; raise it, lower --rollout.max_new_tokens, or "
                f"use smaller images. The prompt begins: {prompt[:200]!r}"
            )
        multi_modal_data = {"image": pictures} if pictures else None
        version = self.weights_version
        outputs = await asyncio.gather(
            *(
                self.generate(prompt_ids, _with_seed(params, sample), multi_modal_data=multi_modal_data)
                for sample in range(num_samples)
            )
        )
        for output in outputs:
            require_same_prompt(output.prompt_token_ids, prompt_ids)
        grades = await asyncio.gather(*(self._grade(prompt, output, label) for output in outputs))
        responses = [_response(output, grade, version) for output, grade in zip(outputs, grades, strict=True)]
        perturbed_tensors = None
        if perturbation is not None and pictures:
            views = perturb(pictures, perturbation)
            _, perturbed_tensors = encode_prompt(self.processor, prompt, views, self.pixel_limits)
        return Group(prompt_ids, image_tensors, responses, perturbed_tensors)

    async def _grade(self, prompt: str, output: Any, label: str) -> Grade:
        response = self.processor.tokenizer.decode(output.outputs[0].token_ids, skip_special_tokens=True)
        grade = await asyncio.wrap_future(self.rewards.submit(response, label))
        if grade.error is not None:
            # A prompt ends with the problem, after what all prompts share.
            logger.warning(
                f"grader error: {grade.headline[:300]}; response {response[:200]!r}, label {label[:100]!r}, "
                f"prompt ...{prompt[-200:]!r}"
            )
        return grade

    async def shutdown(self) -> None:
        """End the processes of the engine and of the reward service."""
        self.llm.shutdown()
        self.rewards.close()


def _with_seed(params: SamplingParams, sample: int) -> SamplingParams:
    seeded = deepcopy(params)
    seeded.seed = (params.seed or 0) + sample
    return seeded


def _response(output: Any, grade: Grade, version: int) -> Response:
    completion = output.outputs[0]
    token_ids = list(completion.token_ids)
    log_probs = [step[token].logprob for token, step in zip(token_ids, completion.logprobs, strict=True)]
    truncated = completion.finish_reason == "length"
    return Response(token_ids, log_probs, truncated, grade.reward, grade.components, grade.error, version)


RolloutActor = ray.remote(RolloutWorker)

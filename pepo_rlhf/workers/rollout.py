"""The rollout worker: a vLLM engine that answers prompts with images, scores the answers, and takes new weights."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from copy import deepcopy

import ray
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
from openrlhf.utils.logging_utils import init_logger
from openrlhf.utils.utils import get_tokenizer
from safetensors.torch import save_file
from vllm import SamplingParams
from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

from pepo_rlhf.compat import cpu, parent_death
from pepo_rlhf.data.images import decode_image, image_views
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.data.vision_tokens import collapse_images, vision_token_ids
from pepo_rlhf.rewards import Grade, RewardService

logger = init_logger(__name__)


def fails_with_engine(method):
    """Of a worker: a method that raises EngineDeadError when the engine's process dies. vLLM would never answer."""

    @functools.wraps(method)
    async def call(self, *args):
        task = asyncio.create_task(method(self, *args))
        while not (await asyncio.wait([task], timeout=1))[0]:
            await self.llm.check_health()
        return task.result()

    return call


class RolloutWorker(RolloutRayActor.__ray_metadata__.modified_class):
    """Upstream's rollout actor. A prompt is encoded once for its n samples, and grader errors are never swallowed.

    Args:
        rewards: arguments of the RewardService.
        min_pixels, max_pixels: for `pixel_limits`, which engine and trainer share.
        engine_kwargs: as upstream, for vLLM's AsyncEngineArgs; `model` names the policy's folder or hub id.
    """

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, rewards: dict, min_pixels: int | None = None, max_pixels: int | None = None, **engine_kwargs
    ) -> None:
        self.processor = get_tokenizer(engine_kwargs["model"], None)
        self.pixel_limits = pixel_limits(self.processor, min_pixels, max_pixels)
        engine_kwargs["mm_processor_kwargs"] = self.pixel_limits
        self.rewards = RewardService(**rewards)
        self.weights_version = 0  # number of weight syncs behind the weights it answers with
        parent_death.bind_children()
        await super().__init__(**engine_kwargs, **cpu.engine_arguments())

    async def generate(self, prompt_token_ids: list[int], sampling_params, multi_modal_data: dict | None = None):
        """As upstream, which collapses images in Qwen's prompts only."""
        if multi_modal_data:
            prompt_token_ids = collapse_images(prompt_token_ids, self.processor)
        return await super().generate(prompt_token_ids, sampling_params, multi_modal_data)

    async def generate_responses(
        self, prompt: str, label: str, images: list, sampling_params, max_length: int, num_samples: int
    ) -> list[dict]:
        """Samples `num_samples` responses to one prompt; sample i is drawn with seed `sampling_params.seed + i`.

        Returns:
            One dict a sample, in the form that upstream's samples generator turns into an Experience.

        Raises:
            ValueError: if prompt and response do not fit into `max_length` tokens, or the engine's prompt is not the
                trainer's.
        """
        pictures = [decode_image(image) for image in images or []]
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
        outputs = await asyncio.gather(
            *(
                self.generate(prompt_ids, _with_seed(params, sample), multi_modal_data=multi_modal_data)
                for sample in range(num_samples)
            )
        )
        for output in outputs:
            require_same_prompt(output.prompt_token_ids, prompt_ids)
        grades = await asyncio.gather(*(self._grade(prompt, output, label) for output in outputs))
        return [
            self._as_sample(prompt, label, images, prompt_ids, image_tensors, output, grade)
            for output, grade in zip(outputs, grades, strict=True)
        ]

    async def _grade(self, prompt: str, output, label: str) -> Grade:
        response = self.processor.tokenizer.decode(output.outputs[0].token_ids, skip_special_tokens=True)
        grade = await asyncio.wrap_future(self.rewards.submit(response, label))
        if grade.error is not None:
            # A prompt ends with the problem, after what all prompts share.
            logger.warning(
                f"grader error: {grade.headline[:300]}; response {response[:200]!r}, label {label[:100]!r}, "
                f"prompt ...{prompt[-200:]!r}"
            )
        return grade

    def _as_sample(self, prompt, label, images, prompt_ids, image_tensors, output, grade) -> dict:
        completion = output.outputs[0]
        response_ids = list(completion.token_ids)
        log_probs = [step[token].logprob for token, step in zip(response_ids, completion.logprobs, strict=True)]
        return {
            "prompt": prompt,
            "label": label,
            "images": images,
            "mm_train_inputs": image_tensors,
            "observation_tokens": prompt_ids + response_ids,
            "action_ranges": [(len(prompt_ids), len(prompt_ids) + len(response_ids))],
            "rollout_log_probs": [0.0] * len(prompt_ids) + log_probs,
            "truncated": completion.finish_reason == "length",
            "reward": grade.reward,
            "scores": grade.reward,
            "reward_error": grade.error,
            "extra_logs": {
                **grade.components,
                "reward_errors": float(grade.error is not None),
                "weights_version": float(self.weights_version),
            },
        }

    async def probe(self, prompt: str, images: list, other_images: list, sampling_params, max_length: int) -> dict:
        """Samples a response under the prompt's images, and scores it under each of `image_views`.

        Views are scored one after the other: batched, they would differ by rounding alone.

        Returns:
            observation_tokens: prompt and response; response_start: where the second begins; and of each view, by its
            name, mm_train_inputs: the trainer's image tensors, and log_probs: the engine's, of the response's tokens.

        Raises:
            ValueError: if the prompt has no image tokens or leaves no room for a response.
        """
        views = image_views([decode_image(image) for image in images], [decode_image(image) for image in other_images])
        prompt_ids, _ = encode_prompt(self.processor, prompt, views["true"], self.pixel_limits)
        if not vision_token_ids(self.processor) & set(prompt_ids):
            raise ValueError(
                f"a prompt with {len(images)} images has no image tokens: look at the placeholders that the model's "
                f"chat template writes; the prompt begins: {prompt[:200]!r}"
            )
        params = deepcopy(sampling_params)
        params.max_tokens = min(params.max_tokens, max_length - len(prompt_ids) - 1)  # scoring makes one token more
        if params.max_tokens < 1:
            raise ValueError(
                f"a prompt of {len(prompt_ids)} tokens (visual ones included) fills --data.max_len {max_length}; raise "
                f"it, or use smaller images. The prompt begins: {prompt[:200]!r}"
            )
        output = await self.generate(prompt_ids, params, {"image": views["true"]})
        tokens = prompt_ids + list(output.outputs[0].token_ids)
        return {
            "observation_tokens": tokens,
            "response_start": len(prompt_ids),
            "mm_train_inputs": {
                name: encode_prompt(self.processor, prompt, view, self.pixel_limits)[1] for name, view in views.items()
            },
            "log_probs": {name: await self._log_probs(tokens, len(prompt_ids), view) for name, view in views.items()},
        }

    async def _log_probs(self, tokens: list[int], start: int, pictures: list) -> list[float]:
        """The engine's log-probs of `tokens` from `start` on, at temperature 1, all of them given as a prompt."""
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        output = await self.generate(tokens, params, {"image": pictures})
        require_same_prompt(output.prompt_token_ids, tokens)
        steps = zip(tokens[start:], output.prompt_logprobs[start:], strict=True)
        return [step[token].logprob for token, step in steps]

    async def check_health(self) -> str:
        """An id that is another one after a restart; raises EngineDeadError if the engine's process is gone."""
        await self.llm.check_health()
        return ray.get_runtime_context().get_worker_id()

    @fails_with_engine
    async def begin_weight_update(self) -> None:
        """Waits until nothing is in flight. A sleeping engine has nothing in flight and must not be resumed."""
        self._paused = not await self.llm.is_sleeping()
        if self._paused:
            await self.llm.pause_generation(mode="wait", clear_cache=False)
        self._packed_names: set[str] = set()
        await self.llm.collective_rpc("forget_received_weights")

    @fails_with_engine
    async def reload_weights(self, weights: dict) -> None:
        """Gives the engine process all weights at once, through a file in memory of this machine."""
        folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".safetensors") as file:
            save_file(weights, file.name)
            await self.llm.collective_rpc("reload_from_file", args=(file.name,))

    @fails_with_engine
    async def finish_weight_update(self, weights_version: int) -> list[str]:
        """Drops what was computed with old weights, resumes, and returns the names that every worker received.

        Three caches hold such values: the prefix (KV) cache, the multimodal cache and the encoder cache with the
        image embeddings.
        """
        self.weights_version = weights_version
        received = await self.llm.collective_rpc("received_weights")
        if not await self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM has kept its prefix cache, of old weights: its blocks are still in use")
        await self.llm.reset_mm_cache()
        await self.llm.reset_encoder_cache()
        if self._paused:
            await self.llm.resume_generation()
        return sorted(set.intersection(*map(set, received)) | self._packed_names)

    @fails_with_engine
    async def init_packed_transfer(self, init_info: dict) -> None:
        """The engine's end of `workers.packed_transfer`, as the three that follow."""
        await self.llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info))

    @fails_with_engine
    async def start_packed_transfer(self) -> None:
        await self.llm.start_weight_update()

    @fails_with_engine
    async def receive_packed_weights(self, update_info: dict) -> None:
        await self.llm.update_weights(WeightTransferUpdateRequest(update_info))
        self._packed_names.update(update_info["names"])

    @fails_with_engine
    async def finish_packed_transfer(self) -> None:
        await self.llm.finish_weight_update()

    async def shutdown(self) -> None:
        """Ends the processes of the engine and of the reward service."""
        self.llm.shutdown()
        self.rewards.close()


def require_same_prompt(engine_ids: list[int], trainer_ids: list[int]) -> None:
    """Raises ValueError unless the engine answered the very tokens, visual ones included, that are trained on."""
    if engine_ids == trainer_ids:
        return
    pairs = enumerate(zip(engine_ids, trainer_ids, strict=False))
    shorter = min(len(engine_ids), len(trainer_ids))
    first = next((position for position, (engine, trainer) in pairs if engine != trainer), shorter)
    raise ValueError(
        f"the engine's prompt has {len(engine_ids)} tokens and the trainer's {len(trainer_ids)}, and they differ from "
        f"position {first} on: both must resize images alike; look at the processor's files in the model folder, at "
        "--data.min_pixels and --data.max_pixels, and whether vllm and transformers are versions that go together"
    )


def _with_seed(params, sample: int):
    params = deepcopy(params)
    params.seed += sample
    return params


RolloutActor = ray.remote(RolloutWorker)

"""The engine's part of the vision check, mixed into the rollout worker."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from vllm import SamplingParams

from pepo_rlhf.data.images import decode_image, image_views
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.workers.responses import require_same_prompt


class Probe(NamedTuple):
    """A response to a prompt, scored by the engine under several views of the prompt's images.

    Attributes:
        token_ids: prompt and response; response_start: where the second begins.
        image_tensors: the processor's tensors of each view, for the policy.
        log_probs: the engine's log-probs of the response's tokens under each view, at temperature 1.
    """

    token_ids: list[int]
    response_start: int
    image_tensors: dict[str, dict[str, torch.Tensor]]
    log_probs: dict[str, list[float]]


class VisionProbe:
    """Sample and score a response with the worker's engine."""

    processor: Any
    pixel_limits: dict[str, int]
    generate: Any

    async def probe(
        self,
        prompt: str,
        images: list[str | bytes],
        other_images: list[str | bytes],
        sampling_params: SamplingParams,
        max_length: int,
    ) -> Probe:
        """Sample a response under the prompt's images, and score it under each of `image_views`.

        Views are scored one after the other: batched, they would differ by rounding alone.

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
        longest = max_length - len(prompt_ids) - 1  # scoring makes one token more
        params.max_tokens = min(params.max_tokens or longest, longest)
        if longest < 1:
            raise ValueError(
                f"a prompt of {len(prompt_ids)} tokens (visual ones included) fills --data.max_len {max_length}; raise "
                f"it, or use smaller images. The prompt begins: {prompt[:200]!r}"
            )
        output = await self.generate(prompt_ids, params, {"image": views["true"]})
        tokens = prompt_ids + list(output.outputs[0].token_ids)
        image_tensors = {
            name: encode_prompt(self.processor, prompt, view, self.pixel_limits)[1] or {}
            for name, view in views.items()
        }
        log_probs = {name: await self._log_probs(tokens, len(prompt_ids), view) for name, view in views.items()}
        return Probe(tokens, len(prompt_ids), image_tensors, log_probs)

    async def _log_probs(self, tokens: list[int], start: int, pictures: list[Any]) -> list[float]:
        """Return the engine's log-probs of `tokens` from `start` on, given as a prompt, at temperature 1."""
        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        output = await self.generate(tokens, params, {"image": pictures})
        require_same_prompt(output.prompt_token_ids, tokens)
        steps = zip(tokens[start:], output.prompt_logprobs[start:], strict=True)
        return [step[token].logprob for token, step in steps]

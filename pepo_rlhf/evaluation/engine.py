"""Generate samples for an evaluation: a vLLM engine of its own, without Ray."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pepo_rlhf.compat import cpu
from pepo_rlhf.compat.environment import worker_environment
from pepo_rlhf.data import Row, decode_image
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.vision_tokens import collapse_images, vision_token_ids


class Generation(NamedTuple):
    """One sampled response to a prompt."""

    response: str
    num_tokens: int
    truncated: bool
    seed: int


class Engine:
    """Answers rows with k samples each. Its constructor loads heavy libraries and starts the engine.

    Args:
        settings: the flags of pepo_rlhf.evaluate.
        processor: of the model, for the chat template.
        pixels: arguments of the processor's call, from `pixel_limits`.
        max_images: most images of a row.
    """

    def __init__(self, settings: Any, processor: Any, pixels: dict[str, int], max_images: int) -> None:
        os.environ |= worker_environment(num_ranks=1, trust_remote_code=settings.trust_remote_code)
        import vllm

        # On a CPU it warns with every prompt that it leaves the number of threads as it is.
        logging.getLogger("vllm.v1.worker.cpu_worker").setLevel(logging.ERROR)
        self._settings, self._processor, self._pixels = settings, processor, pixels
        self._llm = vllm.LLM(
            model=settings.model,
            trust_remote_code=settings.trust_remote_code,
            dtype=settings.dtype,
            max_model_len=settings.max_len,
            limit_mm_per_prompt={"image": max_images},
            mm_processor_kwargs=pixels,
            tensor_parallel_size=settings.tensor_parallel_size,
            distributed_executor_backend="uni" if settings.tensor_parallel_size == 1 else "mp",
            gpu_memory_utilization=settings.gpu_memory_utilization,
            enforce_eager=settings.enforce_eager,
            seed=settings.seed,
            **cpu.engine_arguments(),
        )

    def generate(self, rows: Sequence[Row], numbers: Sequence[int]) -> list[list[Generation]]:
        """Return k samples of each row, each with a seed made of the run's seed, the row's number and the sample's."""
        from vllm import SamplingParams

        settings = self._settings
        prompts: list[Any] = []
        seeds: list[int] = []
        for row, number in zip(rows, numbers, strict=True):
            prompts += [self._prompt(row)] * settings.num_samples
            seeds += [sample_seed(settings.seed, number, sample) for sample in range(settings.num_samples)]
        params = [
            SamplingParams(
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
                max_tokens=settings.max_new_tokens,
                seed=seed,
            )
            for seed in seeds
        ]
        completions = [output.outputs[0] for output in self._llm.generate(prompts, params, use_tqdm=False)]
        samples = [
            Generation(completion.text, len(completion.token_ids), completion.finish_reason == "length", seed)
            for completion, seed in zip(completions, seeds, strict=True)
        ]
        return [samples[start : start + settings.num_samples] for start in range(0, len(samples), settings.num_samples)]

    def continue_response(
        self, prompt: str, pictures: list, seed: int, prefixes: Sequence[list[int]], num: int
    ) -> list[list[list[int]]]:
        """Return `num` continuations of each prefix of a response, which end where the response would.

        Args:
            prompt: rendered; pictures: its images, decoded.
            seed: number of the response, which the continuations' seeds depend on.
            prefixes: token ids.

        Raises:
            ValueError: if a prefix leaves no room for another token.
        """
        from vllm import SamplingParams

        settings = self._settings
        prompt_ids, _ = encode_prompt(self._processor, prompt, pictures, self._pixels)
        longest = settings.max_new_tokens or settings.max_len - len(prompt_ids)
        if (most := max(map(len, prefixes))) >= longest:
            raise ValueError(
                f"a response of more than {most} tokens cannot be continued where the longest has {longest}: raise "
                "--rollout.max_new_tokens, or --data.max_len"
            )
        collapsed = collapse_images(prompt_ids, self._processor) if pictures else prompt_ids
        images = {"multi_modal_data": {"image": pictures}} if pictures else {}
        prompts: list[Any] = [{"prompt_token_ids": collapsed + prefix, **images} for prefix in prefixes]
        params = [
            SamplingParams(
                n=num,
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
                max_tokens=longest - len(prefix),
                logit_bias={token: -100.0 for token in vision_token_ids(self._processor)} or None,
                seed=sample_seed(settings.seed, seed, len(prefix)),
            )
            for prefix in prefixes
        ]
        outputs = self._llm.generate(prompts, params, use_tqdm=False)
        return [[list(completion.token_ids) for completion in output.outputs] for output in outputs]

    def close(self) -> None:
        """Shut the engine down; at the end of the interpreter its compiled parts would report it as leaked."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        gc.collect()

    def _prompt(self, row: Row) -> dict[str, Any]:
        text = render_prompt(self._processor, row)
        images = [decode_image(image) for image in row.images]
        return {"prompt": text, "multi_modal_data": {"image": images}} if images else {"prompt": text}


def sample_seed(seed: int, number: int, sample: int) -> int:
    """Return the seed of one request: any two are independent, and an interrupted evaluation goes on with the same."""
    return int(np.random.SeedSequence([seed, number, sample]).generate_state(1, dtype=np.uint32)[0])

"""What a rollout worker returns."""

from __future__ import annotations

from typing import Any, NamedTuple


class Response(NamedTuple):
    """One sampled and graded response.

    Attributes:
        token_ids, log_probs: the sampled tokens, and the log-probs that they were sampled with, in nats.
        truncated: whether it was cut off at the length limit.
        reward, components, grader_error: from the verifiers; the error is None where they ran.
        weights_version: training steps behind the weights that it was sampled with.
    """

    token_ids: list[int]
    log_probs: list[float]
    truncated: bool
    reward: float
    components: dict[str, float]
    grader_error: str | None
    weights_version: int


class Group(NamedTuple):
    """The responses to one prompt, with what they share.

    Attributes:
        prompt_token_ids: the prompt's tokens, visual ones included.
        image_tensors: the processor's tensors, or a reference to them; None without an image.
        perturbed_tensors: likewise of the perturbed images; None also where no signal needs them.
    """

    prompt_token_ids: list[int]
    image_tensors: Any
    responses: list[Response]
    perturbed_tensors: Any = None


def require_same_prompt(engine_ids: list[int], trainer_ids: list[int]) -> None:
    """Raise ValueError unless the engine answered the very tokens, visual ones included, that are trained on."""
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

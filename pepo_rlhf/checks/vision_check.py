"""Check that the model's log-probs depend on the image: in this process and, if asked, with a run's own workers."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import to_arguments
from pepo_rlhf.core.vision_check import LIMITS, LogProbs, mean_changes
from pepo_rlhf.data import decode_image
from pepo_rlhf.data.images import image_views
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import choose_prompts, encode_prompt, render_prompt

_MAX_PARAMETERS = 1e9  # a forward of more takes minutes on a CPU
_NUM_ROWS = 100  # among which prompts with images of their own are looked for


def check_blindness(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether the scores of a few rows' labels change with blank images and with another row's."""
    if not inputs.config.pepo.blindness_check:
        yield warning("not looked for: --pepo.blindness_check false")
        return
    if inputs.num_parameters > _MAX_PARAMETERS and not torch.cuda.is_available():
        yield warning("too large a model to look without a GPU; `check --gate` and every run do, with their workers")
        return
    rows = inputs.training_rows.rows[:_NUM_ROWS]
    items = [(row.datasource, render_prompt(inputs.processor, row), row.label, list(row.images)) for row in rows]
    labels = {prompt: label for _, prompt, label, _ in items}
    prompts = choose_prompts(items)
    if not prompts:
        yield ok("no prompt with an image among the first rows")
        return
    model = _load(inputs)
    responses = [
        _score(model, inputs, prompt, labels[prompt], images, prompts[(index + 1) % len(prompts)][1])
        for index, (prompt, images) in enumerate(prompts)
    ]
    changes = mean_changes(responses)
    if changes.blind(LIMITS[inputs.config.ds.param_dtype].change):
        yield error(
            "the model is blind: the log-probs of its answers do not depend on the image. Look at the placeholders "
            "that the chat template writes, at the processor's files, and whether the vision encoder or its projector "
            f"is missing, zero or cut off in --actor.model_name_or_path. Nats a token that another image changes: "
            f"{changes}"
        )
    else:
        yield ok(f"the model sees: nats a token that another image changes: {changes}")


def check_gate(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether policy and rollout engine, started as a run starts them, pass the run's own check."""
    # Imported late: the whole stack comes with it.
    import ray

    from pepo_rlhf.compat import wiring
    from pepo_rlhf.controller import cluster, placement

    config = copy.deepcopy(inputs.config)
    config.logger.wandb.enable = config.logger.trackio.enable = False
    wiring.apply()
    with tempfile.TemporaryDirectory() as config.run.dir:
        args = to_arguments(config)
        cluster.connect(args)
        try:
            placement.pass_gate(args)
        finally:
            ray.shutdown()
        asked = (Path(config.run.dir) / "blindness.json").exists()
    if asked:
        yield ok("policy and rollout engine have passed the gate")
    else:
        yield warning("the gate was not asked: --pepo.blindness_check is false, or no prompt has an image")


def _load(inputs: Inputs):
    # Imported late: OpenRLHF and vLLM come with it.
    from pepo_rlhf.compat import wiring
    from pepo_rlhf.workers.model import VisionLanguageActor

    wiring.apply()
    config = inputs.config
    actor = VisionLanguageActor(
        config.actor.model_name_or_path,
        attn_implementation=config.ds.attn_implementation,
        param_dtype=config.ds.param_dtype,
    )
    return actor.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _score(model, inputs: Inputs, prompt: str, label: str, images: list, others: list) -> LogProbs:
    """Return the model's log-probs of `label` as the response, [T] each, under each view of the prompt's images."""
    data, processor = inputs.config.data, inputs.processor
    limits = pixel_limits(processor, data.min_pixels, data.max_pixels)
    response = processor.tokenizer(label, add_special_tokens=False)["input_ids"]
    views = image_views([decode_image(image) for image in images], [decode_image(image) for image in others])
    log_probs = {}
    for name, pictures in views.items():
        prompt_ids, image_tensors = encode_prompt(processor, prompt, pictures, limits)
        sequences = torch.tensor([prompt_ids + response], device=model.model.device)
        action_mask = torch.zeros_like(sequences[:, 1:])
        action_mask[:, -len(response) :] = 1
        tensors = {key: tensor.to(sequences.device) for key, tensor in (image_tensors or {}).items()}
        with torch.no_grad():
            scores = model(sequences, action_mask, torch.ones_like(sequences), **tensors)
        log_probs[name] = scores[0, -len(response) :].cpu()
    return LogProbs(**log_probs)

"""Check that the model's log-probs depend on the image: in this process and, if asked, with a run's own workers."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from typing import Any

import torch

from pepo_rlhf.checks.finding import Finding, error, ok, warning
from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.controller.prompts import Prompt, choose_prompts, render_prompts
from pepo_rlhf.core.vision_check import LIMITS, LogProbs, mean_changes
from pepo_rlhf.data import decode_image
from pepo_rlhf.data.images import image_views
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import encode_prompt

_MAX_PARAMETERS = 1e9  # a forward of more takes minutes on a CPU
_NUM_ROWS = 100  # among which prompts with images of their own are looked for


def check_model_sees(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether the scores of a few rows' labels change with blank images and with another row's."""
    if not inputs.config.run.vision_check:
        yield warning("not looked for: --run.vision_check false")
        return
    if inputs.num_parameters > _MAX_PARAMETERS and not torch.cuda.is_available():
        yield warning("too large a model to look without a GPU; `check --vision_check` and every run do, by workers")
        return
    prompts = choose_prompts(render_prompts(inputs.training_rows.rows[:_NUM_ROWS], inputs.processor))
    if not prompts:
        yield ok("no prompt with an image among the first rows")
        return
    model = _load(inputs)
    others = [*prompts[1:], prompts[0]]
    changes = mean_changes(
        [_score(model, inputs, prompt, other) for prompt, other in zip(prompts, others, strict=True)]
    )
    if changes.blind(LIMITS[inputs.config.ds.param_dtype].change):
        yield error(
            "the model is blind: the log-probs of its answers do not depend on the image. Look at the placeholders "
            "that the chat template writes, at the processor's files, and whether the vision encoder or its projector "
            f"is missing, zero or cut off in --actor.model_name_or_path. Nats a token that another image changes: "
            f"{changes}"
        )
    else:
        yield ok(f"the model sees: nats a token that another image changes: {changes}")


def check_workers_see(inputs: Inputs) -> Iterator[Finding]:
    """Yield whether policy and rollout engine, started as a run starts them, pass the run's own vision check."""
    # Imported late: the whole stack comes with it.
    from pepo_rlhf.controller import cluster
    from pepo_rlhf.controller.run import run_vision_check
    from pepo_rlhf.controller.vision_check import VisionError

    config = copy.deepcopy(inputs.config)
    prompts = render_prompts(inputs.training_rows.rows, inputs.processor)
    with tempfile.TemporaryDirectory() as config.run.dir:
        cluster.connect(config)
        try:
            run_vision_check(config, prompts, inputs.processor)
        except VisionError as problem:
            yield error(str(problem))
            return
        finally:
            cluster.disconnect()
        was_made = (config.run_dir / "vision_check.json").exists()
    if was_made:
        yield ok("policy and rollout engine have passed the vision check")
    else:
        yield warning("the vision check was not made, since no prompt has an image")


def _load(inputs: Inputs) -> Any:
    # Imported late: OpenRLHF comes with it.
    from pepo_rlhf.workers.model import VisionLanguageActor

    config = inputs.config
    actor = VisionLanguageActor(
        config.actor.model_name_or_path,
        attn_implementation=config.ds.attn_implementation,
        param_dtype=config.ds.param_dtype,
    )
    return actor.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _score(model: Any, inputs: Inputs, prompt: Prompt, other: Prompt) -> LogProbs:
    """Return the model's log-probs of the label as the response, [T] each, under each view of the prompt's images."""
    data, processor = inputs.config.data, inputs.processor
    limits = pixel_limits(processor, data.min_pixels, data.max_pixels)
    response = processor.tokenizer(prompt.label, add_special_tokens=False)["input_ids"]
    pictures, others = ([decode_image(image) for image in each.images] for each in (prompt, other))
    log_probs = {}
    for name, view in image_views(pictures, others).items():
        prompt_ids, image_tensors = encode_prompt(processor, prompt.text, view, limits)
        sequences = torch.tensor([prompt_ids + response], device=model.model.device)
        action_mask = torch.zeros_like(sequences[:, 1:])
        action_mask[:, -len(response) :] = 1
        tensors = {key: tensor.to(sequences.device) for key, tensor in (image_tensors or {}).items()}
        with torch.no_grad():
            scores = model(sequences, action_mask, torch.ones_like(sequences), **tensors)
        log_probs[name] = scores[0, -len(response) :].cpu()
    return LogProbs(**log_probs)

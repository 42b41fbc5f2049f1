"""The vision check: asks policy and engines, before the first step, for what pepo_rlhf.core.vision_check judges."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from typing import Any

import ray
import torch
from openrlhf.trainer.ray.launcher import RayActorGroup
from vllm import SamplingParams

from pepo_rlhf.config import Config
from pepo_rlhf.controller.engines import Engines
from pepo_rlhf.controller.prompts import Prompt, choose_prompts
from pepo_rlhf.controller.rollouts import forbidden_tokens
from pepo_rlhf.controller.scoring import probe_log_probs
from pepo_rlhf.core.vision_check import LIMITS, LogProbs, compare, describe, find_fault
from pepo_rlhf.workers.micro_batch import MicroBatch
from pepo_rlhf.workers.vision_probe import Probe

logger = logging.getLogger(__name__)
_MAX_TOKENS = 64  # of a response


class VisionError(ValueError):
    """Policy or engine does not see the images, or they do not see the same."""


def check_vision(
    config: Config, policy: RayActorGroup, engines: Engines, prompts: Sequence[Prompt], processor: Any
) -> None:
    """Measure on a few prompts, print a line, and write vision_check.json to the run folder.

    Args:
        policy: group of PolicyWorkers, with the same weights as the engines.
        prompts: the training prompts; those that are asked are chosen here.

    Raises:
        VisionError: with what to tell the user, if log-probs do not depend on the image or policy and engines disagree.
    """
    chosen = choose_prompts(prompts)
    if not chosen:
        logger.info("vision check: skipped, since no prompt has an image")
        return
    with engines.awake():
        probes = [_ask(config, engines, chosen, index, processor) for index in range(len(chosen))]
    of_policy = [_policy_log_probs(policy, probe) for probe in probes]
    ray.get(policy.async_run_method("empty_cache"))
    of_engines = [
        LogProbs(**{view: torch.tensor(log_probs) for view, log_probs in probe.log_probs.items()}) for probe in probes
    ]
    findings, limits = compare(of_policy, of_engines), LIMITS[config.ds.param_dtype]
    fault = find_fault(findings, limits)
    record = {"fault": fault, **dataclasses.asdict(findings), "limits": limits._asdict()}
    (config.run_dir / "vision_check.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if fault is not None:
        raise VisionError(f"{fault}. Measured: {describe(findings)}. --run.vision_check false trains all the same")
    logger.info(f"vision check: passed; {describe(findings)}")


def _ask(config: Config, engines: Engines, prompts: Sequence[Prompt], index: int, processor: Any) -> Probe:
    """Return one engine's probe. They are asked one at a time: results of a batch differ by rounding."""
    prompt, other = prompts[index], prompts[(index + 1) % len(prompts)]
    params = SamplingParams(
        temperature=config.rollout.temperature,
        top_p=config.rollout.top_p,
        top_k=config.rollout.top_k,
        max_tokens=min(config.rollout.max_new_tokens or _MAX_TOKENS, _MAX_TOKENS),
        min_tokens=1,
        logit_bias=forbidden_tokens(processor),
        seed=config.train.seed + index,
        detokenize=False,
    )
    engine = engines.of_prompt(index)
    arguments = (prompt.text, list(prompt.images), list(other.images), params, config.data.max_len)
    probe: Probe = ray.get(engine.probe.remote(*arguments))
    return probe


def _policy_log_probs(policy: RayActorGroup, probe: Probe) -> LogProbs:
    sequences, start = torch.tensor([probe.token_ids]), probe.response_start
    action_mask = torch.zeros(1, sequences.shape[1] - 1, dtype=torch.long)
    action_mask[:, start - 1 :] = 1
    log_probs = {
        view: probe_log_probs(policy, MicroBatch(sequences, action_mask, torch.ones_like(sequences), [tensors]))
        for view, tensors in probe.image_tensors.items()
    }
    return LogProbs(**{view: values[0, start - 1 :] for view, values in log_probs.items()})

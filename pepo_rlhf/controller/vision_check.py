"""The blindness gate: asks policy and engine, before the first step, for what pepo_rlhf.core.vision_check judges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import ray
import torch
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from vllm import SamplingParams

from pepo_rlhf.controller.rollouts import forbidden_tokens
from pepo_rlhf.core.vision_check import LIMITS, LogProbs, compare, describe, find_fault

_MAX_TOKENS = 64  # of a response


class BlindnessError(ValueError):
    """Policy or engine does not see the images, or they do not see the same."""


def gate(args, policy, engines: list, prompts: list[tuple[str, list]], processor) -> str | None:
    """Measures, prints a line, writes blindness.json to the run folder.

    Args:
        policy: RayActorGroup of PolicyWorkers; engines: RolloutWorkers. Both with the same weights.
        prompts: from pepo_rlhf.data.prompt's `choose_prompts`.

    Returns:
        What to tell the user who is to be stopped, or None.
    """
    if not prompts:
        print("blindness gate: skipped, since no prompt has an image", flush=True)
        return None
    findings = compare(*_measure(args, policy, engines, prompts, processor))
    limits = LIMITS[args.ds.param_dtype]
    fault = find_fault(findings, limits)
    record = {"fault": fault, **dataclasses.asdict(findings), "limits": limits._asdict()}
    (Path(args.run.dir) / "blindness.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if fault is None:
        print(f"blindness gate: passed; {describe(findings)}", flush=True)
        return None
    return f"{fault}. Measured: {describe(findings)}. --pepo.blindness_check false trains all the same"


def _measure(args, policy, engines, prompts, processor) -> tuple[list[LogProbs], list[LogProbs]]:
    """Log-probs of one response to each prompt, from the policy and from the engines, which take turns."""
    if args.vllm.enable_sleep:
        batch_vllm_engine_call(engines, "wake_up")
    probes = [
        # One at a time: what an engine computes at once differs by rounding from what it computes alone.
        ray.get(
            engines[index % len(engines)].probe.remote(
                prompt,
                images,
                prompts[(index + 1) % len(prompts)][1],
                _sampling_params(args, index, processor),
                args.data.max_len,
            )
        )
        for index, (prompt, images) in enumerate(prompts)
    ]
    if args.vllm.enable_sleep:
        batch_vllm_engine_call(engines, "sleep")
    by_policy = [_policy_log_probs(policy, probe) for probe in probes]
    ray.get(policy.async_run_method("empty_cache"))
    return by_policy, [
        LogProbs(**{view: torch.tensor(log_probs) for view, log_probs in probe["log_probs"].items()})
        for probe in probes
    ]


def _sampling_params(args, index: int, processor) -> SamplingParams:
    return SamplingParams(
        temperature=args.rollout.temperature,
        top_p=args.rollout.top_p,
        max_tokens=min(args.rollout.max_new_tokens or _MAX_TOKENS, _MAX_TOKENS),
        min_tokens=1,
        logit_bias=forbidden_tokens(processor),
        seed=args.train.seed + index,
        detokenize=False,
    )


def _policy_log_probs(policy, probe: dict) -> LogProbs:
    """All ranks compute the same, as a forward of a partitioned model needs all of them; rank 0 answers."""
    sequences = torch.tensor([probe["observation_tokens"]])
    start = probe["response_start"]
    action_mask = torch.zeros(1, sequences.shape[1] - 1, dtype=torch.long)
    action_mask[:, start - 1 :] = 1
    log_probs = {}
    for view, image_tensors in probe["mm_train_inputs"].items():
        results = policy.async_run_method(
            "probe",
            sequences=sequences,
            action_mask=action_mask,
            attention_mask=torch.ones_like(sequences),
            mm_train_inputs_list=[image_tensors],
        )
        log_probs[view] = ray.get(results)[0][0, start - 1 :]
    return LogProbs(**log_probs)

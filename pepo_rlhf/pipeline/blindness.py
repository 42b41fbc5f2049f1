"""The blindness gate: before the first step, do log-probs depend on the image, and do policy and engine agree on them?

A policy whose images are dropped, swapped or scaled wrongly trains on without an error, and its rewards may even grow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ray
import torch
from openrlhf.trainer.ray.vllm_engine import batch_vllm_engine_call
from vllm import SamplingParams

from pepo_rlhf.pipeline.samples import forbidden_tokens

_NUM_PROMPTS = 4
_MAX_TOKENS = 64  # of a response
_NOISE_FACTOR = 3  # a change counts if it is more than so many times what a repetition changes


class BlindnessError(ValueError):
    """Policy or engine does not see the images, or they do not see the same."""


class Limits(NamedTuple):
    """In nats a token; how they were chosen stands in docs/blindness.md."""

    change: float  # less than this, and the image makes no difference
    gap: float  # more than this, and policy and engine disagree


LIMITS = {"fp32": Limits(1e-5, 0.01), "bf16": Limits(1e-3, 0.1), "fp16": Limits(1e-4, 0.05)}  # by --ds.param_dtype


class LogProbs(NamedTuple):
    """One side's log-probs of a response, [T] each, given the true image, the same again, a blank or another one."""

    true: torch.Tensor
    again: torch.Tensor
    blank: torch.Tensor
    swapped: torch.Tensor


@dataclass(frozen=True)
class Changes:
    """Mean absolute change of one side's log-probs from those under the true image, in nats a token."""

    again: float
    blank: float
    swapped: float

    def blind(self, limit: float) -> bool:
        """Also where log-probs are not numbers."""
        return not max(self.blank, self.swapped) > max(limit, _NOISE_FACTOR * self.again)


@dataclass(frozen=True)
class Findings:
    """What the gate measured; gap is the mean |policy - engine| under the true image, in nats a token."""

    policy: Changes
    engine: Changes
    gap: float
    num_responses: int
    num_tokens: int


def compare(policy: list[LogProbs], engine: list[LogProbs]) -> Findings:
    """Both sides' log-probs of the same responses, compared."""
    gaps = torch.cat([ours.true - theirs.true for ours, theirs in zip(policy, engine, strict=True)])
    return Findings(_changes(policy), _changes(engine), gaps.abs().mean().item(), len(policy), len(gaps))


def _changes(responses: list[LogProbs]) -> Changes:
    def mean_change(view: str) -> float:
        return torch.cat([getattr(response, view) - response.true for response in responses]).abs().mean().item()

    return Changes(mean_change("again"), mean_change("blank"), mean_change("swapped"))


def find_fault(findings: Findings, limits: Limits) -> str | None:
    """What is wrong and where to look, or None."""
    sides = {"policy": findings.policy, "rollout engine": findings.engine}
    blind = [name for name, changes in sides.items() if changes.blind(limits.change)]
    if blind:
        return (
            f"{' and '.join(blind)} {'is' if len(blind) == 1 else 'are'} blind: log-probs do not depend on the image. "
            "Look at the placeholders that the chat template writes, at the processor's files in the model folder, and "
            "whether the vision encoder or its projector is missing, zero or cut off in the model"
        )
    if not findings.gap <= limits.gap:
        return (
            f"policy and rollout engine disagree by {findings.gap:.3g} nats a token, where rounding explains "
            f"{limits.gap:g}: look whether both have the same weights, the same image processing (--data.min_pixels, "
            "--data.max_pixels, the processor's files in the model folder) and versions of vllm and transformers that "
            "go together"
        )
    return None


def describe(findings: Findings) -> str:
    """The measured numbers in one line."""

    def numbers(changes: Changes) -> str:
        return f"{changes.blank:.3g} (blank), {changes.swapped:.3g} (another row's), {changes.again:.1g} (the same)"

    return (
        f"{findings.num_responses} responses, {findings.num_tokens} tokens; nats a token that another image changes: "
        f"policy {numbers(findings.policy)}, engine {numbers(findings.engine)}; policy against engine "
        f"{findings.gap:.3g}"
    )


def choose_prompts(items: Iterable[tuple]) -> list[tuple[str, list]]:
    """(prompt, images) of the first few `items` of a PromptDataset that have images, no two with the same ones."""
    chosen: dict[tuple, tuple[str, list]] = {}
    for _, prompt, _, images in items:
        if images:
            chosen.setdefault(tuple(images), (prompt, images))
        if len(chosen) == _NUM_PROMPTS:
            break
    return list(chosen.values())


def gate(args, policy, engines: list, prompts: list[tuple[str, list]], processor) -> str | None:
    """Measures, prints a line, writes blindness.json to the run folder.

    Args:
        policy: RayActorGroup of PolicyWorkers; engines: RolloutWorkers. Both with the same weights.
        prompts: from `choose_prompts`.

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

"""Do log-probs depend on the image, and do policy and engine agree on them?

A policy whose images are dropped, swapped or scaled wrongly trains on without an error, and its rewards may even grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

_NOISE_FACTOR = 3  # a change counts if it is more than so many times what a repetition changes


class Limits(NamedTuple):
    """In nats a token; how they were chosen stands in docs/vision_check.md."""

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

    def __str__(self) -> str:
        return f"{self.blank:.3g} (blank), {self.swapped:.3g} (another row's), {self.again:.1g} (the same)"


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
    return Findings(mean_changes(policy), mean_changes(engine), gaps.abs().mean().item(), len(policy), len(gaps))


def mean_changes(responses: list[LogProbs]) -> Changes:
    """How much each view changes one side's log-probs of some responses."""

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
    return (
        f"{findings.num_responses} responses, {findings.num_tokens} tokens; nats a token that another image changes: "
        f"policy {findings.policy}, engine {findings.engine}; policy against engine "
        f"{findings.gap:.3g}"
    )

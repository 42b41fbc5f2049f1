"""What is wrong with a run, read off its metrics: one line a finding, with the flag to turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

Records = Sequence[dict]  # of metrics.jsonl, the newest last
WINDOW = 5  # steps that a share is averaged over: a batch holds few responses


def diagnose(records: Records, args) -> dict[str, str]:
    """Findings that hold at the newest record, by name, each with a line of advice.

    Args:
        records: the run's records so far, at least one.
        args: the run's settings.
    """
    findings = {name: find(records, args) for name, find in FINDINGS.items()}
    return {name: line for name, line in findings.items() if line}


def flat_rewards(records: Records, args) -> str | None:
    if args.rollout.n_samples_per_prompt == 1 or records[-1].get("flat_groups") != 1:
        return None
    return (
        "every group has equal rewards, so this step taught nothing: replace such groups with "
        "--algo.dynamic_filtering_enable, or look at --reward.functions and the difficulty of the data"
    )


def even_weights(records: Records, args) -> str | None:
    low, high = records[-1].get("weight_p20", 0.0), records[-1].get("weight_p80", 0.0)
    if args.pepo.method == "uniform" or low == 0 or high / low >= 1.02:
        return None
    flag = "--pepo.top_fraction" if args.pepo.method == "high_entropy" else "--pepo.temperature"
    return f"token weights are nearly uniform (p20 {low:.3f}, p80 {high:.3f}), as in plain GRPO: lower {flag}"


def truncation(records: Records, args) -> str | None:
    now = _mean_share(records[-WINDOW:], "truncated")
    if now < 0.25 and not _grows(records, "truncated"):
        return None
    return (
        f"{now:.0%} of responses are cut off at the length limit: raise --rollout.max_new_tokens (and --data.max_len), "
        "or penalise length with --reward.overlong_buffer_len"
    )


def grader_errors(records: Records, args) -> str | None:
    if not _grows(records, "reward_errors", least=0.0):
        return None
    now = _mean_share(records[-WINDOW:], "reward_errors")
    return (
        f"grader errors grow, to {now:.1%} of responses: the log shows each; raise --reward.timeout_seconds or "
        f"--reward.memory_mb if that is what they ran out of (the run stops at --reward.max_error_rate "
        f"{args.reward.max_error_rate})"
    )


FINDINGS: dict[str, Callable[[Records, object], str | None]] = {
    "flat_rewards": flat_rewards,
    "even_weights": even_weights,
    "truncation": truncation,
    "grader_errors": grader_errors,
}


def _grows(records: Records, name: str, least: float = 0.05) -> bool:
    """Whether a share has doubled from one window to the next, and lies above `least`."""
    if len(records) < 2 * WINDOW:
        return False
    before, now = (_mean_share(records[-2 * WINDOW : -WINDOW], name), _mean_share(records[-WINDOW:], name))
    return now > least and now >= 2 * before


def _mean_share(records: Records, name: str) -> float:
    return mean(record.get(name, 0.0) for record in records)

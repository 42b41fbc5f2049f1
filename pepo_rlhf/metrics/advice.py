"""Read off a run's metrics what is wrong with it: one line a finding, with the flag to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from pepo_rlhf.config import Config
from pepo_rlhf.config.validate import GROUP_ESTIMATORS
from pepo_rlhf.core.weighting import load_weighting

Records = Sequence[dict]  # of metrics.jsonl, the newest last
WINDOW = 5  # steps that a share is averaged over: a batch holds few responses


def diagnose(records: Records, config: Config) -> dict[str, str]:
    """Return the findings that hold at the newest record, by name, each with a line of advice.

    Args:
        records: the run's records so far, at least one.
        config: the run's settings.
    """
    findings = {name: find(records, config) for name, find in FINDINGS.items()}
    return {name: line for name, line in findings.items() if line}


def equal_rewards(records: Records, config: Config) -> str | None:
    if config.algo.advantage.estimator not in GROUP_ESTIMATORS or records[-1].get("zero_std_groups") != 1:
        return None
    enabled = config.algo.dynamic_filtering_enable
    flag = "--algo.dynamic_filtering_max_resamples (more of them)" if enabled else "--algo.dynamic_filtering_enable"
    return (
        f"every group has equal rewards, so this step taught nothing: replace such groups with {flag}, or look at "
        "--reward.functions and the difficulty of the data"
    )


def even_weights(records: Records, config: Config) -> str | None:
    low, high = records[-1].get("weight_p20", 0.0), records[-1].get("weight_p80", 0.0)
    if low == 0 or high / low >= 1.02:
        return None
    advice = load_weighting(config.pepo.method, config.pepo.settings).how_to_spread
    if advice is None:
        return None
    if low == high == 1:  # what --pepo.no_image uniform gives a response without an image
        return "all token weights are 1, as prompts without an image have them: look at the data and --pepo.no_image"
    return f"token weights are nearly uniform (p20 {low:.3f}, p80 {high:.3f}), as in plain GRPO: {advice}"


def truncation(records: Records, config: Config) -> str | None:
    now = _mean_share(records[-WINDOW:], "truncated")
    if now < 0.25 and not _grows(records, "truncated"):
        return None
    return (
        f"{now:.0%} of responses are cut off at the length limit: raise --rollout.max_new_tokens (and --data.max_len), "
        "or penalise length with --reward.overlong_buffer_len"
    )


def grader_errors(records: Records, config: Config) -> str | None:
    if not _grows(records, "reward_errors", least=0.0):
        return None
    now = _mean_share(records[-WINDOW:], "reward_errors")
    return (
        f"grader errors grow, to {now:.1%} of responses: the log shows each; raise --reward.timeout_seconds or "
        f"--reward.memory_mb if that is what they ran out of (the run stops at --reward.max_error_rate "
        f"{config.reward.max_error_rate})"
    )


FINDINGS: dict[str, Callable[[Records, Config], str | None]] = {
    "equal_rewards": equal_rewards,
    "even_weights": even_weights,
    "truncation": truncation,
    "grader_errors": grader_errors,
}


def _grows(records: Records, name: str, least: float = 0.05) -> bool:
    """Return whether a share is twice what it was in the lowest window before this one, and lies above `least`."""
    earlier, now = records[:-WINDOW], _mean_share(records[-WINDOW:], name)
    if not earlier:
        return False
    starts = range(max(1, len(earlier) - WINDOW + 1))
    return now > least and now >= 2 * min(_mean_share(earlier[start : start + WINDOW], name) for start in starts)


def _mean_share(records: Records, name: str) -> float:
    return mean(record.get(name, 0.0) for record in records)

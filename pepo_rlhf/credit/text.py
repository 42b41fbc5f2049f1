"""What was measured, in tables and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pepo_rlhf.config import Config
from pepo_rlhf.core.signals import BUILT_IN, describe
from pepo_rlhf.core.vision_check import LIMITS
from pepo_rlhf.credit.decisive import IMAGE_DEPENDENCE, Decisive, at_measured_positions
from pepo_rlhf.credit.measure import (
    TOP_FRACTION,
    Estimate,
    agreement,
    captured_share,
    method_table,
    over_prompts,
    signal_table,
    words_at_both_ends,
)
from pepo_rlhf.credit.responses import ScoredResponse

OWN_KIND = tuple(name for name in BUILT_IN if describe(name).perturbs_images)  # as the image dependence is


def is_blind(config: Config, responses: Sequence[ScoredResponse]) -> bool:
    """Return whether a blank image leaves the log-probs of the responses as they are."""
    return not _change(responses) > LIMITS[config.ds.param_dtype].change


def image_text(config: Config, responses: Sequence[ScoredResponse], kind: str) -> str:
    """Return tables and verdicts for the image dependence; `kind` is the perturbation of signals of its own kind."""
    num_prompts = len({response.question for response in responses})
    num_tokens = sum(len(response.token_ids) for response in responses)
    dependence = over_prompts(responses, lambda _, response: float(response.target.mean()))
    lines = [
        f"{config.actor.model_name_or_path}: {num_prompts} prompts, {len(responses)} responses, {num_tokens} tokens; "
        "95% intervals over prompts",
        f"target: image dependence, KL under the true image from that under a blank one, {dependence.mean:.3g} nats a "
        f"token; signals of its own kind (*) are under {kind}",
        "",
    ]
    if is_blind(config, responses):
        verdict = (
            f"This model is blind: a blank image changes the log-probs of its own responses by "
            f"{_change(responses):.1g} nats a token. No signal can find tokens that depend on the image. Look at its "
            "vision encoder and projector, and at the placeholders that the chat template writes."
        )
        return "\n".join([*lines, verdict])
    signals = signal_table(responses)
    lines += [
        *_signal_lines(signals, OWN_KIND),
        "",
        *_method_lines(responses, lambda each: each.target),
        "",
        *_word_lines(responses, signals),
    ]
    verdicts = [_verdict(name, area, "image-dependent") for name, (_, area) in signals.items() if name not in OWN_KIND]
    return "\n".join([*lines, "", *verdicts])


def reward_text(responses: Sequence[ScoredResponse], decisive: Decisive, num_errors: int) -> str:
    """Return tables and verdicts for the reward dependence, and how far it agrees with the image dependence.

    Args:
        responses: after `measure_decisions`.
        decisive: how that measured.
        num_errors: responses that could not be graded.
    """
    found = at_measured_positions(responses)
    if all(np.ptp(each.squares) == 0 for each in found):
        return (
            "second target: no measured token decides about the reward. All continuations of a response have one "
            "reward: look at --reward.functions, and at what the model answers"
            + (f"; {num_errors} could not be graded" if num_errors else "")
        )
    noise = over_prompts(found, lambda _, each: float(np.mean(each.advantages**2 - each.squares)))
    square = over_prompts(found, lambda _, each: float(each.squares.mean()))
    signals = signal_table(found)
    back, shared = agreement(found, IMAGE_DEPENDENCE)
    lines = [
        f"second target: reward dependence, squared advantage of a token, {square.mean:.3g} a token; "
        f"{sum(len(each.token_ids) for each in found)} tokens, up to {decisive.num_positions} of a response, with "
        f"{decisive.num_continuations} continuations before and after each; standard error of an advantage "
        f"{math.sqrt(max(noise.mean, 0.0)):.2g}",
        *([f"{num_errors} responses could not be graded, and are left out"] if num_errors else []),
        "",
        *_signal_lines(signals, decided={name: captured_share(found, name) for name in signals}),
        f"(of the top tokens by the first target {shared} are top tokens by the second, by chance {TOP_FRACTION:.2f}; "
        f"the second ranks them with AUC {back})",
        "",
    ]
    verdicts = [_verdict(name, area, "reward-deciding") for name, (_, area) in signals.items() if name not in OWN_KIND]
    methods = _method_lines(responses, lambda each: each.squares)
    return "\n".join([*lines, *methods, "", *_word_lines(found, ()), "", *verdicts])


def _change(responses: Sequence[ScoredResponse]) -> float:
    return float(np.concatenate([response.change for response in responses]).mean())


def _signal_lines(
    signals: Mapping[str, tuple[Estimate, Estimate]],
    marked: Sequence[str] = (),
    decided: Mapping[str, Estimate] | None = None,
) -> list[str]:
    rows = [("signal", "rank correlation", "AUC, top 20%", "decided by its top 20%" if decided else "")]
    for name, (correlation, area) in signals.items():
        label = name + ("*" if name in marked else "")
        rows.append((label, str(correlation), str(area), str(decided[name]) if decided else ""))
    return [f"{row[0]:<22}{row[1]:<24}{row[2]:<24}{row[3]}".rstrip() for row in rows]


def _method_lines(responses: Sequence[ScoredResponse], target_of: Callable[[ScoredResponse], np.ndarray]) -> list[str]:
    table = method_table(responses, target_of)
    even = table["uniform"].share
    lines = [f"{'method':<16}{'weight p20':>10}{'p80':>8}{'p80/p20':>9}  advantage on the top tokens"]
    for method, measured in table.items():
        spread = f"{measured.p80 / measured.p20:.3f}" if measured.p20 else "-"
        lines.append(f"{method:<16}{measured.p20:>10.3f}{measured.p80:>8.3f}{spread:>9}  {measured.share}")
    return [*lines, f"(the top tokens are {even.mean:.0%} of a response, and of its advantage under even weights)"]


def _word_lines(responses: Sequence[ScoredResponse], signals: Iterable[str]) -> list[str]:
    lines = []
    for name in ("target", *signals):
        highest, lowest = words_at_both_ends(responses, name)
        lines.append(f"{name:<20}high: {' '.join(highest)}   low: {' '.join(lowest)}")
    return lines


def _verdict(name: str, area: Estimate, kind: str) -> str:
    name = "Image dependence" if name == IMAGE_DEPENDENCE else name.replace("_", " ").capitalize()
    if math.isnan(area.mean):
        return f"{name} cannot be judged: no response has tokens that differ in being {kind}."
    how = "no better than chance"
    if area.low > 0.5:
        how = "better than chance"
    elif area.high < 0.5:
        how = "worse than chance"
    return f"{name} ranks {kind} tokens {how} on this model: AUC {area}."

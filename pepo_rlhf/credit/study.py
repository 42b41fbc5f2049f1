"""The whole of the command: responses, numbers, verdicts, and the page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import Config
from pepo_rlhf.core.signals import BUILT_IN, describe
from pepo_rlhf.core.vision_check import LIMITS
from pepo_rlhf.credit.measure import Estimate, method_table, over_prompts, signal_table, top_tokens, words_at_both_ends
from pepo_rlhf.credit.responses import Question, ScoredResponse, Scorer, questions_of_rows, questions_of_run
from pepo_rlhf.data.perturbations import Perturbation
from pepo_rlhf.report.credit_page import render_credit

OWN_KIND = tuple(name for name in BUILT_IN if describe(name).perturbs_images)  # as the target is


class Study(NamedTuple):
    """What the command prints, and the page that it writes."""

    text: str
    page: str


def study(config: Config, num_prompts: int, num_samples: int, run_dir: Path | None) -> Study:
    """Return tables, verdicts and page of a model on its data.

    Args:
        config: settings as of a run, which need not be complete.
        num_prompts, num_samples: prompts with images, and responses to each, at most.
        run_dir: a run whose last recorded responses are taken; None samples responses to the data set's prompts.

    Raises:
        ValueError: for a model or data that cannot be read, and if no prompt has an image.
    """
    inputs = Inputs(config)
    if run_dir is None:
        questions = questions_of_rows(inputs.training_rows.rows, inputs.processor, num_prompts)
    else:
        questions = questions_of_run(run_dir, num_prompts, num_samples)
    if not questions:
        raise ValueError(f"{run_dir or config.data.prompt_dataset}: no prompt has an image, so there is nothing to ask")
    # A signal under the target's own perturbation would be the target.
    kind = "patches" if config.pepo.perturbation in ("blank", "swapped") else config.pepo.perturbation
    scorer = Scorer(config, _load(config), inputs.processor, Perturbation(kind, config.pepo.perturbation_ratio))
    responses = list(scorer.run(questions, num_samples))
    if not responses:
        raise ValueError("every response is empty: look at the prompts and the model's end-of-sequence tokens")
    text = _text(config, responses, kind)
    return Study(text, render_credit(config.actor.model_name_or_path or "", text, _shown(questions, responses)))


def _load(config: Config) -> Any:
    # Imported late: OpenRLHF comes with it.
    from pepo_rlhf.workers.model import VisionLanguageActor

    actor = VisionLanguageActor(
        config.actor.model_name_or_path,
        attn_implementation=config.ds.attn_implementation,
        param_dtype=config.ds.param_dtype,
        temperature=config.rollout.temperature,
    )
    return actor.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _text(config: Config, responses: list[ScoredResponse], kind: str) -> str:
    num_prompts = len({response.question for response in responses})
    num_tokens = sum(len(response.target) for response in responses)
    dependence = over_prompts(responses, lambda _, response: float(response.target.mean()))
    lines = [
        f"{config.actor.model_name_or_path}: {num_prompts} prompts, {len(responses)} responses, {num_tokens} tokens; "
        "95% intervals over prompts",
        f"target: image dependence, KL under the true image from that under a blank one, {dependence.mean:.3g} nats a "
        f"token; signals of its own kind (*) are under {kind}",
        "",
    ]
    change = float(np.concatenate([response.change for response in responses]).mean())
    if not change > LIMITS[config.ds.param_dtype].change:
        verdict = (
            f"This model is blind: a blank image changes the log-probs of its own responses by {change:.1g} nats a "
            "token. No signal can find tokens that depend on the image. Look at its vision encoder and projector, and "
            "at the placeholders that the chat template writes."
        )
        return "\n".join([*lines, verdict])
    signals = signal_table(responses)
    lines.append(f"{'signal':<22}{'rank correlation':<24}{'AUC, top 20%':<24}")
    for name, (correlation, area) in signals.items():
        lines.append(f"{name + ('*' if name in OWN_KIND else ''):<22}{correlation!s:<24}{area!s:<24}".rstrip())
    even = over_prompts(responses, lambda _, response: float(top_tokens(response.target).mean()))
    lines += ["", f"{'method':<16}{'weight p20':>10}{'p80':>8}{'p80/p20':>9}  advantage on the top tokens"]
    for method, measured in method_table(responses).items():
        spread = f"{measured.p80 / measured.p20:.3f}" if measured.p20 else "-"
        lines.append(f"{method:<16}{measured.p20:>10.3f}{measured.p80:>8.3f}{spread:>9}  {measured.share}")
    lines += [f"(the top tokens are {even.mean:.0%} of a response, and of its advantage under even weights)", ""]
    for name in ("target", *signals):
        highest, lowest = words_at_both_ends(responses, name)
        lines.append(f"{name:<20}high: {' '.join(highest)}   low: {' '.join(lowest)}")
    verdicts = [_verdict(name, area) for name, (_, area) in signals.items() if name not in OWN_KIND]
    return "\n".join([*lines, "", *verdicts])


def _verdict(name: str, area: Estimate) -> str:
    if math.isnan(area.mean):
        found = "cannot be judged: no response has tokens of different image dependence"
        return f"{name.replace('_', ' ').capitalize()} {found}."
    how = "no better than chance"
    if area.low > 0.5:
        how = "better than chance"
    elif area.high < 0.5:
        how = "worse than chance"
    return f"{name.replace('_', ' ').capitalize()} ranks image-dependent tokens {how} on this model: AUC {area}."


def _shown(questions: list[Question], responses: list[ScoredResponse]) -> list[dict[str, Any]]:
    """Return the questions as the page shows them."""
    return [
        {
            "prompt": question.prompt,
            "pictures": question.pictures,
            "responses": [
                {"texts": each.text.token_texts, "rows": {"image dependence, blank": each.target} | each.signals}
                for each in responses
                if each.question == number
            ],
        }
        for number, question in enumerate(questions)
    ]

"""The whole of the command: responses, numbers, verdicts, and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pepo_rlhf.checks.inputs import Inputs
from pepo_rlhf.config import Config
from pepo_rlhf.credit.decisive import Decisive, measure_decisions
from pepo_rlhf.credit.responses import Question, ScoredResponse, Scorer, questions_of_rows, questions_of_run
from pepo_rlhf.credit.text import image_text, is_blind, reward_text
from pepo_rlhf.data.perturbations import Perturbation
from pepo_rlhf.report.credit_page import render_credit


class Study(NamedTuple):
    """What the command prints, and the page that it writes."""

    text: str
    page: str


def study(config: Config, num_prompts: int, num_samples: int, run_dir: Path | None, decisive: Decisive | None) -> Study:
    """Return tables, verdicts and page of a model on its data.

    Args:
        config: settings as of a run, which need not be complete.
        num_prompts, num_samples: prompts with images, and responses to each, at most.
        run_dir: a run whose last recorded responses are taken; None samples responses to the data set's prompts.
        decisive: measure the reward dependence, too, unless the model is blind.

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
    text = image_text(config, responses, kind)
    if decisive and not is_blind(config, responses):
        del scorer  # the engine needs its memory
        torch.cuda.empty_cache()
        num_errors = measure_decisions(config, inputs.processor, questions, responses, decisive)
        text += "\n\n" + reward_text(responses, decisive, num_errors)
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


def _shown(questions: list[Question], responses: list[ScoredResponse]) -> list[dict[str, Any]]:
    """Return the questions as the page shows them."""
    return [
        {
            "prompt": question.prompt,
            "pictures": question.pictures,
            "responses": [
                {"texts": each.text.token_texts, "rows": _rows(each)} for each in responses if each.question == number
            ],
        }
        for number, question in enumerate(questions)
    ]


def _rows(response: ScoredResponse) -> dict[str, np.ndarray]:
    targets = {"image dependence, blank": response.target}
    if response.advantages.size:
        targets |= {"advantage": response.advantages, "reward dependence": response.squares}
    return targets | response.signals

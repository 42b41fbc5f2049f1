"""Responses of a model to prompts with images, sampled or recorded, with the signals of each token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pepo_rlhf.config import Config
from pepo_rlhf.controller.prompts import render_prompts
from pepo_rlhf.controller.token_recorder import token_texts
from pepo_rlhf.core.masks import vision_mask
from pepo_rlhf.core.signal import ResponseText
from pepo_rlhf.core.signals.visual_similarity import VisualSimilarity
from pepo_rlhf.data import Row, decode_image
from pepo_rlhf.data.perturbations import Perturbation, perturb
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import encode_prompt
from pepo_rlhf.data.vision_tokens import vision_token_ids
from pepo_rlhf.metrics.token_records import read_steps
from pepo_rlhf.workers.image_tensors import merge_image_tensors


@dataclass
class Question:
    """A prompt with images, and responses to it; none yet where they are to be sampled."""

    prompt: str
    label: str
    task: str
    pictures: list[Image.Image]
    token_ids: list[list[int]] = field(default_factory=list)


@dataclass
class ScoredResponse:
    """The tokens of a response with what is known of each.

    Attributes:
        question: number of its question.
        token_ids: up to the end token, or to the longest response.
        signals: [T] by name; image dependence and sensitivity under another perturbation than the target's.
        target: [T], image dependence under a blank image.
        change: [T], absolute change of the log-prob under a blank image.
        advantages, squares: [T], by Monte Carlo, as TokenAdvantage has them; nan where they were not measured, empty
            where none was.
    """

    question: int
    token_ids: list[int]
    text: ResponseText
    signals: dict[str, np.ndarray]
    target: np.ndarray
    change: np.ndarray
    advantages: np.ndarray = field(default_factory=lambda: np.empty(0))
    squares: np.ndarray = field(default_factory=lambda: np.empty(0))


def questions_of_rows(rows: list[Row], processor: Any, num_prompts: int) -> list[Question]:
    """Return the first rows with images as questions without responses."""
    chosen = [prompt for prompt in render_prompts(rows, processor) if prompt.images][:num_prompts]
    return [
        Question(prompt.text, prompt.label, prompt.datasource, [decode_image(image) for image in prompt.images])
        for prompt in chosen
    ]


def questions_of_run(run_dir: Path, num_prompts: int, num_samples: int) -> list[Question]:
    """Return prompts with images of a run's last recorded step, with their recorded responses.

    Raises:
        ValueError: if the run has no token records.
    """
    *_, records = read_steps(run_dir)
    questions = []
    for _, group in groupby(records.table.to_pylist(), key=lambda row: row["group"]):
        rows = list(group)[:num_samples]
        if not rows[0]["images"]:
            continue
        pictures = [decode_image(str(run_dir / "tokens" / "images" / name)) for name in rows[0]["images"]]
        prompt, label, task = (rows[0][name] for name in ("prompt", "label", "task"))
        questions.append(Question(prompt, label, task, pictures, [row["token_ids"] for row in rows]))
    return questions[:num_prompts]


class Scorer:
    """Sample responses with a model and compute their signals.

    Args:
        actor: a VisionLanguageActor.
        processor: of the model.
        perturbation: of the signals; its seed is taken from the question's number.
    """

    def __init__(self, config: Config, actor: Any, processor: Any, perturbation: Perturbation) -> None:
        self.config, self.actor, self.processor, self.perturbation = config, actor, processor, perturbation
        self.limits = pixel_limits(processor, config.data.min_pixels, config.data.max_pixels)

    def run(self, questions: list[Question], num_samples: int) -> Iterator[ScoredResponse]:
        """Yield the responses to each question, in order; those that it lacks are sampled."""
        torch.manual_seed(self.config.train.seed)
        for number, question in enumerate(questions):
            responses = question.token_ids or self._sample(question, num_samples)
            yield from self._score(number, question, [response for response in responses if response])

    def _sample(self, question: Question, num_samples: int) -> list[list[int]]:
        rollout, model, tokenizer = self.config.rollout, self.actor.model, self.processor.tokenizer
        inputs = self.processor(
            text=[question.prompt] * num_samples,
            images=[question.pictures] * num_samples,
            add_special_tokens=False,
            return_tensors="pt",
            **self.limits,
        ).to(model.device)
        ends = model.generation_config.eos_token_id or tokenizer.eos_token_id
        ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id}
        sampled = model.generate(
            **inputs,
            do_sample=True,
            temperature=rollout.temperature,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            max_new_tokens=rollout.max_new_tokens or self.config.data.max_len - inputs["input_ids"].shape[1],
            eos_token_id=sorted(ends),
            pad_token_id=tokenizer.pad_token_id,
            suppress_tokens=sorted(vision_token_ids(self.processor)) or None,
        )[:, inputs["input_ids"].shape[1] :].tolist()
        return [_until_end(response, ends) for response in sampled]

    def _score(self, number: int, question: Question, responses: list[list[int]]) -> Iterator[ScoredResponse]:
        device, pepo = self.actor.model.device, self.config.pepo
        prompt_ids, _ = encode_prompt(self.processor, question.prompt, question.pictures, self.limits)
        rows = [torch.tensor(prompt_ids + response, device=device) for response in responses]
        sequences = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        attended = torch.arange(sequences.shape[1], device=device) < lengths[:, None]
        is_response = attended.clone()
        is_response[:, : len(prompt_ids)] = False
        batch = (sequences, is_response[:, 1:].long(), attended.long())
        vision = vision_mask(sequences, batch[1], vision_token_ids(self.processor))
        similarity = VisualSimilarity(vision, pepo.similarity, is_response)
        blank, other = (
            self._images(question, kind, len(rows))
            for kind in (Perturbation("blank"), self.perturbation._replace(seed=number))
        )
        true = self._images(question, None, len(rows))
        target = self.actor.score(*batch, similarity, pepo.num_layers, blank, **true).signals
        perturbed = self.actor.score(*batch, None, None, other, **true).signals
        signals = {**perturbed, "visual_similarity": target["visual_similarity"]}
        for row, response in enumerate(responses):
            columns = slice(len(prompt_ids) - 1, len(prompt_ids) - 1 + len(response))
            texts = token_texts(self.processor.tokenizer, response)
            yield ScoredResponse(
                number,
                response,
                ResponseText(texts, question.label, question.prompt, question.task),
                {name: values[row, columns].float().cpu().numpy() for name, values in signals.items()},
                target["image_dependence"][row, columns].float().cpu().numpy(),
                target["image_sensitivity"][row, columns].float().cpu().numpy(),
            )

    def _images(self, question: Question, perturbation: Perturbation | None, num_rows: int) -> dict[str, torch.Tensor]:
        pictures = question.pictures if perturbation is None else perturb(question.pictures, perturbation)
        _, tensors = encode_prompt(self.processor, question.prompt, pictures, self.limits)
        return merge_image_tensors([tensors] * num_rows, self.actor.model.device)


def _until_end(response: list[int], ends: set[int]) -> list[int]:
    """Return the tokens up to the first that ends a response, which belongs to it."""
    end = next((place for place, token in enumerate(response) if token in ends), len(response))
    return response[: end + 1]

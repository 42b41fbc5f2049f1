"""Token records of a training step, taken on the controller while scores and weights are still there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience

from pepo_rlhf.metrics.token_records import store_image, weight_settings, write_step
from pepo_rlhf.rewards.reward import component_name

_MAX_TOKENS_PER_CHARACTER = 4  # bytes of the longest in UTF-8


class TokenRecorder:
    """Writes records of step 1 and of every `--logger.tokens_every`-th step into the run folder.

    `record` copies what is to be written; a thread makes texts and files of it while the workers train.

    Args:
        args: the run's settings.
        processor: the policy's processor or tokenizer.
    """

    def __init__(self, args, processor) -> None:
        self.args = args
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token_records")
        self._writing: Future | None = None

    def is_due(self, step: int) -> bool:
        every = self.args.logger.tokens_every
        return every > 0 and (step == 1 or step % every == 0)

    def record(
        self,
        step: int,
        exploration: float,
        experiences: list[Experience],
        tasks: Sequence[Sequence[str]],
        tokens: Mapping[str, Sequence[torch.Tensor]],
    ) -> None:
        """Takes a batch's first `--logger.tokens_max_rows` responses, whole groups only.

        Args:
            step: number of the step, from 1.
            exploration: p of the formula.
            experiences, tasks, tokens: as for `response_rows`.
        """
        num_samples = self.args.rollout.n_samples_per_prompt
        num_rows = self.args.logger.tokens_max_rows // num_samples * num_samples
        parts = [component_name(function) for function in self.args.reward.functions]
        rows = response_rows(experiences, tasks, tokens, num_rows, num_samples, parts)
        rows = [{"step": step, "progress": exploration, **row} for row in rows]
        batch_size = sum(len(experience.index) for experience in experiences)
        self._writing = self._thread.submit(self._write, step, rows, batch_size)

    def finish(self) -> None:
        """Waits until the last step's records are written, and raises what kept them from being so."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, step: int, rows: list[dict[str, Any]], batch_size: int) -> None:
        run_dir = Path(self.args.run.dir)
        image_name = cache(partial(store_image, run_dir))  # the responses of a group share their images
        for row in rows:
            row["images"] = [image_name(image) for image in row["images"]]
            row["response"] = self.tokenizer.decode(row["token_ids"], skip_special_tokens=True)
            row["token_texts"] = token_texts(self.tokenizer, row["token_ids"].tolist())
        write_step(run_dir, step, rows, weight_settings(self.args), batch_size)


def response_rows(
    experiences: list[Experience],
    tasks: Sequence[Sequence[str]],
    tokens: Mapping[str, Sequence[torch.Tensor]],
    num_rows: int,
    num_samples: int,
    reward_parts: Sequence[str],
) -> list[dict[str, Any]]:
    """The first `num_rows` responses of a batch as rows of the schema, in the batch's order; texts are still missing.

    Args:
        experiences: micro-batches of the batch.
        tasks: data source of each response, by micro-batch.
        tokens: "mask", True at response tokens, and a column of the schema with an entry a token each: one
            [b, S - 1] a micro-batch.
        num_rows: at most.
        num_samples: responses of a group.
        reward_parts: names of the reward components.
    """
    rows: dict[int, dict[str, Any]] = {}
    columns = {name: tensors for name, tensors in tokens.items() if name != "mask"}
    for number, experience in enumerate(experiences):
        for i, index in enumerate(experience.index):
            if index >= num_rows:
                continue
            mask = tokens["mask"][number][i]
            rows[index] = {
                "group": str(index // num_samples),
                "sample": index % num_samples,
                "task": tasks[number][i],
                "prompt": experience.prompts[i],
                "label": experience.labels[i],
                "images": experience.images[i],
                "token_ids": experience.sequences[i, 1:][mask].numpy(),
                "reward": experience.rewards[i].item(),
                "reward_parts": {name: experience.info[name][i].item() for name in reward_parts},
                "truncated": bool(experience.truncated[i]),
                "has_image": experience.mm_train_inputs[i] is not None,
                **{name: tensors[number][i][mask].float().numpy() for name, tensors in columns.items()},
            }
    return [rows[index] for index in sorted(rows)]


def token_texts(tokenizer, token_ids: list[int]) -> list[str]:
    """The text that each token adds to those before it, special tokens as they are written.

    A character of several tokens stands at its last one, and the others are empty. (tokenizers' own DecodeStream does
    the same, and raises on the bytes that are no UTF-8 which an untrained policy samples.)
    """
    decode = partial(tokenizer.backend_tokenizer.decode, skip_special_tokens=False)
    texts, start = [], 0
    for end in range(1, len(token_ids) + 1):
        before = max(0, start - 1)  # some tokenizers take the space off the first token that they decode
        text = decode(token_ids[before:end])[len(decode(token_ids[before:start])) :]
        if text.endswith("\ufffd") and end < len(token_ids) and end - start < _MAX_TOKENS_PER_CHARACTER:
            texts.append("")
        else:
            texts.append(text)
            start = end
    return texts

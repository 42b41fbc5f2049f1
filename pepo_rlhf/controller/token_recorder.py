"""Token records of a training step, taken while the batch's scores and weights are still there."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Batch
from pepo_rlhf.metrics.token_records import SIGNAL_COLUMNS, store_image, weight_settings, write_step

_MAX_TOKENS_PER_CHARACTER = 4  # bytes of the longest in UTF-8
# Column of the records -> attribute of the batch, [B, S - 1] each.
_COLUMNS = {
    "log_prob": "action_log_probs",
    "weight": "weights",
    "advantage_before": "unweighted_advantages",
    "rollout_log_prob": "rollout_log_probs",
}


class TokenRecorder:
    """Write records of the first, the last and every `--logger.tokens_every`-th step into the run folder.

    A thread makes texts and files of a batch while the workers train.

    Args:
        processor: the policy's processor or tokenizer.
        num_steps: planned steps of the run. Dynamic filtering may end it earlier.
    """

    def __init__(self, config: Config, processor: Any, num_steps: int) -> None:
        self.config, self.num_steps = config, num_steps
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token_records")
        self._writing: Future[None] | None = None

    def is_due(self, step: int) -> bool:
        """Return whether a step, from 1, is recorded."""
        every = self.config.logger.tokens_every
        return every > 0 and (step in (1, self.num_steps) or step % every == 0)

    def record(self, step: int, batch: Batch, schedule_coefficient: float) -> None:
        """Take a batch's first `--logger.tokens_max_rows` responses, whole groups only.

        Args:
            step: number of the step, from 1.
            batch: with everything that the experience maker adds.
            schedule_coefficient: p of the formula.
        """
        num_rows = self.config.logger.tokens_max_rows // batch.num_samples * batch.num_samples
        rows = [{"step": step, "progress": schedule_coefficient, **row} for row in response_rows(batch, num_rows)]
        self._writing = self._thread.submit(self._write, step, rows, len(batch))

    def finish(self) -> None:
        """Wait until the last step's records are written, and raise what kept them from being so."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, step: int, rows: list[dict[str, Any]], batch_size: int) -> None:
        image_name = cache(partial(store_image, self.config.run_dir))  # the responses of a group share their images
        for row in rows:
            row["images"] = [image_name(image) for image in row["images"]]
            row["response"] = self.tokenizer.decode(row["token_ids"], skip_special_tokens=True)
            row["token_texts"] = token_texts(self.tokenizer, row["token_ids"].tolist())
        write_step(self.config.run_dir, step, rows, weight_settings(self.config), batch_size)


def response_rows(batch: Batch, num_rows: int) -> list[dict[str, Any]]:
    """Return the first `num_rows` responses of a batch as rows of the records' schema; texts are still missing."""
    columns = {name: getattr(batch, attribute) for name, attribute in _COLUMNS.items()}
    columns |= {column: batch.signals.get(signal) for signal, column in SIGNAL_COLUMNS.items()}
    columns["advantage"] = batch.advantages * batch.loss_mask
    has_image = batch.has_image
    rows = []
    for row in range(min(num_rows, len(batch))):
        mask, prompt = batch.action_mask[row].bool(), batch.prompts[row]
        rows.append(
            {
                "group": str(row // batch.num_samples),
                "sample": row % batch.num_samples,
                "task": prompt.datasource,
                "prompt": prompt.text,
                "label": prompt.label,
                "images": prompt.images,
                "token_ids": batch.sequences[row, 1:][mask].numpy(),
                "reward": batch.rewards[row].item(),
                "reward_parts": {name: values[row].item() for name, values in batch.components.items()},
                "truncated": bool(batch.truncated[row]),
                "has_image": bool(has_image[row]),
                **{name: None if values is None else values[row][mask].numpy() for name, values in columns.items()},
            }
        )
    return rows


def token_texts(tokenizer: Any, token_ids: list[int]) -> list[str]:
    """Return the text that each token adds to those before it, special tokens as they are written.

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

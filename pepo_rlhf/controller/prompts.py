"""Prompts: rows of a data set, put through the chat template, in batches that come out even."""

from __future__ import annotations

import zlib

import torch
from openrlhf.utils.logging_utils import init_logger
from torch.utils.data import Dataset
from torchdata.stateful_dataloader.sampler import RandomSampler

from pepo_rlhf.data.batches import prompts_per_episode
from pepo_rlhf.data.load import LoadedRows
from pepo_rlhf.data.prompt import render_prompt
from pepo_rlhf.tasks.run_rows import load_run_rows

logger = init_logger(__name__)


class PromptDataset(Dataset):
    """Rows as upstream's trainers want them: (data source, prompt text, label, images)."""

    def __init__(self, loaded: LoadedRows, processor) -> None:
        self.num_skipped = loaded.num_skipped
        self.items = [
            (
                row.datasource,
                render_prompt(processor, row),
                row.label,
                list(row.images),
            )
            for row in loaded.rows
        ]
        texts = "\0".join(text for item in self.items for text in item[1:3])
        self._identity = {"num_rows": len(self.items), "checksum": zlib.crc32(texts.encode())}

    def state_dict(self) -> dict[str, int]:
        """Goes into checkpoints with the data loader's position, which means nothing in other rows."""
        return self._identity

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Raises ValueError unless the rows are those that the position was taken in."""
        if state != self._identity:
            raise ValueError(
                f"--data.prompt_dataset: its {len(self)} rows are not the {state['num_rows']} rows of the run that "
                "wrote the checkpoint; go on with those, or start another run with a new --run.dir"
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[str, str, str, list]:
        return self.items[index]

    @staticmethod
    def collate(items: list[tuple]) -> tuple[list, ...]:
        return tuple(list(column) for column in zip(*items, strict=True))


class TrainingPrompts(PromptDataset):
    """With each row's number, by which an episode counts what it has trained."""

    def __getitem__(self, index: int) -> tuple[str, str, str, list, int]:  # type: ignore[override]  # a fifth column
        return (*self.items[index], index)


def prepare_datasets(strategy, processor):
    """Training and evaluation prompts, and the number of optimiser steps of the run.

    An episode is a random choice of as many prompts as make whole batches; what is left out of one episode is not
    left out of the next.

    Returns:
        (training loader, evaluation loader or None, max_steps), as upstream's function of this name.

    Raises:
        ValueError: for data that cannot be used (see load_rows), or less of it than one batch.
    """
    args = strategy.args
    dataset = TrainingPrompts(
        load_run_rows(args.data.prompt_dataset, args.data.prompt_split, args.data, processor), processor
    )
    num_prompts = prompts_per_episode(len(dataset), args)
    if num_left_out := len(dataset) - num_prompts:
        logger.warning(
            f"{num_left_out} of {len(dataset)} prompts are left out of each episode, another choice each time: "
            f"they do not fill a batch of --rollout.batch_size {args.rollout.batch_size}"
        )
    sampler = RandomSampler(dataset, num_samples=num_prompts, generator=torch.Generator().manual_seed(args.train.seed))
    train_loader = strategy.setup_dataloader(dataset, 1, collate_fn=dataset.collate, sampler=sampler)
    eval_loader = None
    if args.eval.dataset:
        eval_dataset = PromptDataset(load_run_rows(args.eval.dataset, args.eval.split, args.data, processor), processor)
        eval_loader = strategy.setup_dataloader(
            eval_dataset, 1, shuffle=False, drop_last=False, collate_fn=eval_dataset.collate
        )
    num_updates = num_prompts * args.rollout.n_samples_per_prompt // args.train.batch_size
    return train_loader, eval_loader, num_updates * args.train.num_episodes * args.train.max_epochs

"""Load the rows that a run trains or evaluates on, as the settings of its section `data` have it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pepo_rlhf.data.load import LoadedRows, load_rows, read_rows
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt_measure import PromptMeasure
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.row_checker import Problem
from pepo_rlhf.data.vision_tokens import reserved_tokens
from pepo_rlhf.tasks.discovery import find_task
from pepo_rlhf.tasks.frame import pixels, thousandths
from pepo_rlhf.tasks.reading import read_problems


def load_run_rows(
    path_or_id: str, split: str, data: Any, processor: Any, max_response: int | None = None
) -> LoadedRows:
    """Return the checked rows of a data set, read through the adapter of --data.task if there is one.

    Boxes are asked for in the frame that the model's processor suggests: in pixels where it resizes an image as a
    whole, in thousandths where it cuts an image into tiles. `pepo_rlhf.prepare --frame` makes another choice.

    Args:
        path_or_id: of the data set, as for `load_rows`.
        split: of the data set.
        data: the section `data` of the settings.
        processor: of the model.
        max_response: longest response in tokens; None is whatever a prompt leaves of data.max_len.

    Raises:
        ValueError: for an unknown task; else as `load_rows`.
    """
    read = read_rows
    limits = pixel_limits(processor, data.min_pixels, data.max_pixels)
    if data.task:
        cuts_tiles = "image_grid_thw" not in processor.image_processor.model_input_names
        frame = thousandths() if cuts_tiles else pixels(processor, limits)
        read = partial(read_problems, find_task(data.task), frame=frame)
    return load_rows(
        path_or_id,
        split,
        data.max_samples,
        read=lambda *source: with_texts(read(*source), data.instruction, data.system_prompt),
        measure=PromptMeasure(processor, data.max_len - (max_response or 1), limits),
        max_images=data.max_images_per_prompt,
        reserved_tokens=reserved_tokens(processor),
        fetch_urls=data.fetch_urls,
        image_root=data.image_root,
        on_bad_row=data.on_bad_row,
    )


def with_texts(problems: Iterable[Problem], instruction: str | None, system_prompt: str | None) -> Iterator[Problem]:
    """Yield the rows with an instruction, and with a system message where they have none.

    Args:
        instruction, system_prompt: texts, or files that hold one; None leaves either as it is.

    Raises:
        ValueError: if one of them has the placeholder of an image in it, or names a file that is not there.
    """
    instruction, system = text_or_file(instruction), text_or_file(system_prompt) or ""
    if IMAGE_PLACEHOLDER in f"{instruction}{system}":
        raise ValueError(f"instruction and system prompt cannot show images: take {IMAGE_PLACEHOLDER} out of them")
    for problem in problems:
        if isinstance(problem, Row):
            problem = replace(problem, instruction=instruction, system=problem.system or system)
        yield problem


def text_or_file(value: str | None) -> str | None:
    if not value or not os.path.isfile(value):  # not Path, which raises errors for a name that is too long
        if (value or "").endswith((".txt", ".md")):
            raise ValueError(f"instruction or system prompt {value!r}: there is no such file; correct its name")
        return value
    return Path(value).read_text(encoding="utf-8").strip()

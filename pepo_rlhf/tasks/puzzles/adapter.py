"""Records of PuzzleVQA and AlgoPuzzleVQA.

Columns of declare-lab/PuzzleVQA (split train) and declare-lab/AlgoPuzzleVQA (split data), and of the JSON files of
their repository: image, question, options (texts or numbers), answer (the text of one of them).
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Record, Row
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.puzzles.choice import choice_label, letter_of


def options_prompt(question: str, options: Sequence[str]) -> str:
    """Return the question, its options a line each, and the request for a letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([question, "Options:", *lines, "Answer with the letter of the right option."])


def make_rows(record: Record, frame: Frame) -> list[Row]:
    """Return the row of a puzzle with options.

    Raise LabelError for an answer that is none of them, and ValueError for other columns.
    """
    match record.fields:
        case {"question": str(question), "options": [_, *_] as choices, "answer": str() | int() | float() as answer}:
            options = [_text(choice) for choice in choices]
            label = choice_label(letter_of(_text(answer), options), options)
            columns = {**record.fields, "question": options_prompt(question, options), "answer": label}
            return [row_from_record(columns, record.folder, record.source, record.datasource)]
        case {"question": str(), "answer": None}:
            return [row_from_record(*record)]  # its label is empty, which the row checker reports
    raise ValueError(
        "the schema is unknown; looked for a text in 'question', a list in 'options' and 'answer', and found the "
        f"columns {sorted(record.fields)}"
    )


def make_rows_of_either(record: Record, frame: Frame) -> list[Row]:
    """Return the row of a puzzle, which is graded by its answer where it has no options."""
    return make_rows(record, frame) if record.fields.get("options") else [row_from_record(*record)]


def _text(option: Any) -> str:
    return str(option).strip()

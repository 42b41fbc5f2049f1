"""Records of Geometry3K and ViRL39K, and of MathVista, MathVerse and LogicVista for evaluation.

Columns as the hub had them in 2026:
hiyouga/geometry3k    images, problem (with <image>), answer
TIGER-Lab/ViRL39K     question (with <image>), answer (in \\boxed{}), image: a list of paths; copies embed the images
AI4Math/MathVista     query, choices, precision, answer, question_type, answer_type, decoded_image (image is a path)
AI4Math/MathVerse     question (empty where it is in the image), answer, question_type, image
lscpku/LogicVista     question, answer (a letter; several are left out, as by the authors), image
"""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from pepo_rlhf.data.bad_rows import LabelError, OutsideProtocol
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Record, Row
from pepo_rlhf.rewards.answer import number_label
from pepo_rlhf.rewards.notation import fold_width
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.puzzles.choice import choice_label, letter_of

_BOXED = re.compile(r"\s*\$?\\boxed ?\{((?:(?!\\boxed).)*)\}\$?\s*", re.DOTALL)
_LETTER = re.compile(r"[A-Z]")
# Options a line each, in a line with letters in brackets, and in a line with a sign behind the letter.
_OPTIONS = (
    re.compile(r"^\s*\(?([A-Z])[:.),]\s*(.+?)\s*$", re.MULTILINE),
    re.compile(r"\(([A-Z])\)[.:]?\s*(.+?)(?=[\s;,]*(?:\([A-Z]\)|$))", re.MULTILINE),
    re.compile(r"(?<![\w.])([A-Z])[:.)]\s*(.+?)(?=[\s;,]*(?:\s[A-Z][:.)]|$))", re.MULTILINE),
)
_IN_THE_IMAGE = "Answer the question in the image."
_BY_LETTER = "\nAnswer with the option's letter from the given choices directly."


def geometry3k(record: Record, frame: Frame) -> list[Row]:
    """Return the row of a record that has training's own columns."""
    return [row_from_record(*record)]


def virl39k(record: Record, frame: Frame) -> list[Row]:
    """Return the row; a boxed letter is a choice."""
    row = row_from_record(*record)
    boxed = _BOXED.fullmatch(row.label)
    answer = boxed.group(1).strip() if boxed else row.label
    if not _LETTER.fullmatch(answer):
        return [replace(row, label=answer)]
    options = _options_in(row.prompt) or []
    return [replace(row, label=choice_label(answer, options if answer in ascii_uppercase[: len(options)] else None))]


def mathvista(record: Record, frame: Frame) -> list[Row]:
    """Return the row, graded by the option, by the rounded number or by the answer, as the question's type says."""
    fields = record.fields
    image = fields.get("decoded_image") or fields.get("image")
    row = _row(record, fields.get("query") or fields.get("question"), image, _required(fields, "answer"))
    if _has_options(record):
        choices = _required(fields, "choices")
        if not isinstance(choices, list):
            raise LabelError(f"the choices are no list but {choices!r:.100}; write a list of texts")
        # The query's letters are those that a model sees; its options may stand in another order.
        choices = _options_in(row.prompt) or [str(choice).strip() for choice in choices]
        return [replace(row, label=choice_label(letter_of(row.label, choices), choices, closest=True))]
    if fields.get("answer_type") == "float" and fields.get("precision") is not None:
        return [replace(row, label=number_label(row.label, int(float(fields["precision"]))))]
    return [row]


def mathverse(record: Record, frame: Frame) -> list[Row]:
    """Return the row, graded by the option for questions with choices, and else by the answer."""
    fields = record.fields
    question = fields.get("question") or _IN_THE_IMAGE
    prompt = question + _BY_LETTER if _has_options(record) else question
    row = _row(record, prompt, fields.get("image"), _required(fields, "answer"))
    if _has_options(record):
        # A question in the image is written out for the grader alone.
        options = _options_in(question) or _options_in(str(fields.get("question_for_eval") or ""))
        return [replace(row, label=choice_label(row.label, options))]
    return [row]


def mathverse_choice(record: Record, frame: Frame) -> list[Row]:
    """Return the row of a question with choices; raise OutsideProtocol for any other."""
    if not _has_options(record):
        raise OutsideProtocol("a free-form question, where the authors' protocol scores those with choices")
    return mathverse(record, frame)


def _has_options(record: Record) -> bool:
    return str(record.fields.get("question_type")).replace("_", "-") == "multi-choice"


def logicvista(record: Record, frame: Frame) -> list[Row]:
    """Return the row, graded by its letter; raise OutsideProtocol where several letters are right."""
    fields = record.fields
    answer = str(_required(fields, "answer")).strip(" .()")
    if len(answer.replace(",", " ").split()) > 1:
        raise OutsideProtocol(f"several right answers ({answer}), where the authors' protocol scores single letters")
    return [_row(record, fields.get("question"), fields.get("image"), choice_label(answer.upper(), None, closest=True))]


def _row(record: Record, prompt: Any, image: Any, answer: Any) -> Row:
    """Return the row of columns that have other names in the record."""
    columns = {"problem": prompt, "images": image, "answer": answer}
    return row_from_record(columns, record.folder, record.source, record.datasource)


def _required(fields: Any, column: str) -> Any:
    if fields.get(column) is None:
        raise LabelError(f"the column {column!r} is missing or empty; fill it, or drop the row")
    return fields[column]


def _options_in(question: str) -> list[str] | None:
    """Return the options that a question lists as A, B, C, ...; None if it lists none in that order."""
    for pattern in _OPTIONS:
        found = pattern.findall(fold_width(question))
        in_order = "".join(letter for letter, _ in found) == ascii_uppercase[: len(found)]
        if len(found) > 1 and in_order:
            return [text for _, text in found]
    return None

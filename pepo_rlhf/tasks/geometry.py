"""Geometry and visual mathematics: Geometry3K, ViRL39K; MathVista, MathVerse and LogicVista for evaluation.

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

from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.sources import Record
from pepo_rlhf.rewards.answer import number_label
from pepo_rlhf.rewards.choice import choice_label, letter_of
from pepo_rlhf.rewards.structured_label import LabelError
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.task import OutsideProtocol, Task

_BOXED = re.compile(r"\s*\$?\\boxed ?\{((?:(?!\\boxed).)*)\}\$?\s*", re.DOTALL)
_LETTER = re.compile(r"[A-Z]")
_OPTION = re.compile(r"^\s*\(?([A-Z])[:.)]\s*(.+?)\s*$", re.MULTILINE)
_IN_THE_IMAGE = "Answer the question in the image."
_BY_LETTER = "\nAnswer with the option's letter from the given choices directly."


def _geometry3k(record: Record, frame: Frame) -> list[Row]:
    return [row_from_record(*record)]


def _virl39k(record: Record, frame: Frame) -> list[Row]:
    row = row_from_record(*record)
    boxed = _BOXED.fullmatch(row.label)
    answer = boxed.group(1).strip() if boxed else row.label
    if not _LETTER.fullmatch(answer):
        return [replace(row, label=answer)]
    options = _options_in(row.prompt) or []
    return [replace(row, label=choice_label(answer, options if answer in ascii_uppercase[: len(options)] else None))]


def _mathvista(record: Record, frame: Frame) -> list[Row]:
    fields = record.fields
    image = fields.get("decoded_image") or fields.get("image")
    row = _row(record, fields.get("query") or fields.get("question"), image, _required(fields, "answer"))
    if _has_options(record):
        choices = _required(fields, "choices")
        if not isinstance(choices, list):
            raise LabelError(f"the choices are no list but {choices!r:.100}; write a list of texts")
        choices = [str(choice).strip() for choice in choices]
        return [replace(row, label=choice_label(letter_of(row.label, choices), choices, closest=True))]
    if fields.get("answer_type") == "float" and fields.get("precision") is not None:
        return [replace(row, label=number_label(row.label, int(float(fields["precision"]))))]
    return [row]


def _mathverse(record: Record, frame: Frame) -> list[Row]:
    fields = record.fields
    question = fields.get("question") or _IN_THE_IMAGE
    prompt = question + _BY_LETTER if _has_options(record) else question
    row = _row(record, prompt, fields.get("image"), _required(fields, "answer"))
    if _has_options(record):
        return [replace(row, label=choice_label(row.label, _options_in(question)))]
    return [row]


def _mathverse_choice(record: Record, frame: Frame) -> list[Row]:
    if not _has_options(record):
        raise OutsideProtocol("a free-form question, where the authors' protocol scores those with choices")
    return _mathverse(record, frame)


def _has_options(record: Record) -> bool:
    return str(record.fields.get("question_type")).replace("_", "-") == "multi-choice"


def _logicvista(record: Record, frame: Frame) -> list[Row]:
    fields = record.fields
    answer = str(_required(fields, "answer")).strip(" .()")
    if len(answer.replace(",", " ").split()) > 1:
        raise OutsideProtocol(f"several right answers ({answer}), where the authors' protocol scores single letters")
    return [_row(record, fields.get("question"), fields.get("image"), choice_label(answer.upper(), None, closest=True))]


def _row(record: Record, prompt: Any, image: Any, answer: Any) -> Row:
    """Row of columns that have other names in the record."""
    columns = {"problem": prompt, "images": image, "answer": answer}
    return row_from_record(columns, record.folder, record.source, record.datasource)


def _required(fields: Any, column: str) -> Any:
    if fields.get(column) is None:
        raise LabelError(f"the column {column!r} is missing or empty; fill it, or drop the row")
    return fields[column]


def _options_in(question: str) -> list[str] | None:
    """Options that a question lists as A, B, C, ... a line each; None if it lists none in that order."""
    found = _OPTION.findall(question)
    in_order = "".join(letter for letter, _ in found) == "ABCDEFGHIJ"[: len(found)]
    return [text for _, text in found] if len(found) > 1 and in_order else None


GEOMETRY3K = Task(
    name="geometry3k",
    hub_id="hiyouga/geometry3k",
    make_rows=_geometry3k,
    verifiers=("accuracy",),
    untagged=True,
)
VIRL39K = Task(
    name="virl39k",
    hub_id="PAPOGalaxy/PAPO_ViRL39K_train",
    split="train",
    make_rows=_virl39k,
    verifiers=("answer",),
)
MATHVISTA = Task(
    name="mathvista",
    hub_id="AI4Math/MathVista",
    split="testmini",
    make_rows=_mathvista,
    verifiers=("answer",),
    untagged=True,
)
MATHVERSE = Task(
    name="mathverse",
    hub_id="AI4Math/MathVerse",
    subset="testmini",
    split="testmini",
    make_rows=_mathverse,
    verifiers=("answer",),
    untagged=True,
)
MATHVERSE_CHOICE = replace(MATHVERSE, name="mathverse_choice", make_rows=_mathverse_choice)
LOGICVISTA = Task(
    name="logicvista", hub_id="lscpku/LogicVista", make_rows=_logicvista, verifiers=("choice",), untagged=True
)
COUNTING = Task(name="counting", make_rows=_geometry3k, verifiers=("accuracy",))

"""Accuracy reward: does the first answer of a response equal the label, as text or as mathematics?

Only an answer that is one value or one list as a whole is compared as mathematics. A search for numbers inside prose
would let "either 13 or 14" score for both. docs/rewards.md says what an answer is.
"""

from __future__ import annotations

import re

from pepo_rlhf.rewards.expression import (
    Number,
    parse,
    read_number,
    same_expression,
    same_number,
    same_relation,
)
from pepo_rlhf.rewards.notation import fold_width, normalise
from pepo_rlhf.rewards.reading import Value, read

_TIME_OF_DAY = re.compile(r"0?(\d{1,2}):(\d\d)")
_VARIABLE = re.compile(r"(?<![\\a-z])[a-z]")
_SPACE = re.compile(r"(?<!\d) | (?!\d)")
_MAX_CHARACTERS = 512


def extract_answer(response: str) -> str | None:
    """Return the text of the first answer tag pair, stripped, in ASCII width; None when the response has none."""
    _, _, after_tag = response.partition("<answer>")
    answer, closing_tag, _ = after_tag.partition("</answer>")
    return fold_width(answer).strip() if closing_tag else None


def accuracy_reward(response: str, label: str) -> float:
    """Return 1.0 if the first answer of the response equals the label, else 0.0."""
    return float(same_answer(extract_answer(response) or "", label))


def same_answer(answer: str, label: str) -> bool:
    """Return whether two answers are equal as text or as mathematics.

    An empty answer equals none, nor does one in another unit. An expression that would keep sympy busy for minutes,
    such as a tower of powers, is refused by its shape and counts as wrong; the time limit of the reward service would
    make a grader error of it.
    """
    answer, label = normalise(answer), normalise(label)
    if answer == label or max(len(answer), len(label)) > _MAX_CHARACTERS:
        return answer.casefold() == label.casefold() != ""
    return answer != "" and _same(read(answer), read(label))


def is_mathematics(text: str) -> bool:
    """Return whether the text is mathematics, which other ways to write it can equal."""
    text = normalise(text)
    return len(text) <= _MAX_CHARACTERS and _is_mathematics(read(text))


def number_in(text: str) -> float | None:
    """Return the number that the text is as mathematics; None if it is none."""
    text = normalise(text)
    value = read(text) if len(text) <= _MAX_CHARACTERS else None
    if value is None or value.kind != "value":
        return None
    try:
        number = _number(value)
        return float(number.value if number else parse(value.bare))
    except (TypeError, OverflowError):  # of prose, a variable, a complex number
        return None


def _same(answer: Value, label: Value) -> bool:
    if answer.name and label.name and answer.name != label.name:
        return _same_relations(answer, label)
    if answer.kind == label.kind == "value":
        return _same_values(answer, label)
    for value, other in ((answer, label), (label, answer)):
        if value.kind == "either":
            return any(_same(part, other) for part in value.parts)
        if value.kind == "chain" or (value.kind == "=" and other.kind == "value" and not other.name):
            return all(_same(part, other) for part in value.parts)
    if answer.unit and label.unit and answer.unit != label.unit:
        return False
    if answer.kind in ("=", "<", "<=", "!=") or label.kind in ("=", "<", "<=", "!="):
        return _same_relations(answer, label)
    return _same_parts(answer, label)


def _same_parts(answer: Value, label: Value) -> bool:
    kinds, pairs = {answer.kind, label.kind}, (answer.parts, label.parts)
    if kinds == {"{}", "value"}:
        return False
    if len(answer.parts) != len(label.parts) or not answer.parts:
        return False
    if kinds <= {"list", "{}"}:
        return _in_any_order(*pairs) if not _is_ordered(*pairs) else all(map(_same, *pairs))
    if kinds == {"list", "()"} and (answer.between or label.between or _is_shuffled(answer) or _is_shuffled(label)):
        return False
    if len(kinds) == 1 or kinds == {"list", "()"}:
        return all(map(_same, *pairs))
    return False


def _is_shuffled(value: Value) -> bool:
    """Return whether a list names quantities in another order than that of a point: y = 1, x = 2."""
    names = [part.name for part in value.parts if value.kind == "list"]
    return any(names) and names != sorted(names)


def _is_ordered(first: tuple[Value, ...], second: tuple[Value, ...]) -> bool:
    """Return whether one list names different quantities and the other none, which it must have in the same order."""
    names = [{part.name for part in parts} for parts in (first, second)]
    return {""} in names and any("" not in some and len(some) == len(first) > 1 for some in names)


def _in_any_order(answers: tuple[Value, ...], labels: tuple[Value, ...]) -> bool:
    left = list(labels)
    for answer in answers:
        match = next((label for label in left if _same(answer, label)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_values(answer: Value, label: Value) -> bool:
    if answer.unit and label.unit:
        if answer.unit == label.unit:
            return _same_texts(answer.bare, label.bare)
        return answer.uncertain and label.uncertain and _same_texts(answer.text, label.text)
    if not answer.unit and not label.unit:
        return _same_texts(answer.text, label.text)
    measured, plain = (answer, label) if answer.unit else (label, answer)
    if measured.unit == "percent":
        return _same_percentage(measured, plain)
    if measured.uncertain and _VARIABLE.search(plain.text):
        return _same_texts(measured.text, plain.text)
    return _same_texts(measured.bare, plain.text)


def _same_percentage(percentage: Value, plain: Value) -> bool:
    """Return whether 50% is the other number: 0.5, or 50, as it is asked for in percent."""
    first, second = read_number(percentage.bare), read_number(plain.text)
    if first is None or second is None:
        return same_expression(f"({percentage.bare})/100", plain.text) or same_expression(percentage.bare, plain.text)
    hundredths = Number(first.value / 100, first.rounded)
    return same_number(hundredths, second) or abs(first.value) >= 1 and same_number(first, second)


def _same_texts(answer: str, label: str) -> bool:
    if _SPACE.sub("", answer) == _SPACE.sub("", label) != "":
        return True
    if (time := _TIME_OF_DAY.fullmatch(answer)) and (other := _TIME_OF_DAY.fullmatch(label)):
        return time.groups() == other.groups()  # no ratios: 4:23 is not 8:46
    first, second = read_number(answer), read_number(label)
    if first and second:
        return same_number(first, second)
    return same_expression(answer, label)


def _same_relations(answer: Value, label: Value) -> bool:
    first, second = _sides(answer), _sides(label)
    if first is None or second is None or first[0] != second[0]:
        return False
    return same_relation(first[1:], second[1:], any_sign=first[0] in ("=", "!="))


def _sides(value: Value) -> tuple[str, str, str] | None:
    if value.name and value.kind == "value":
        return "=", value.name, value.text
    if value.kind in ("=", "<", "<=", "!=") and all(part.kind == "value" for part in value.parts):
        return value.kind, value.parts[0].text, value.parts[1].text
    if value.name and value.parts and value.parts[0].text == r"-\infty":
        return "<" if value.kind == "()" else "<=", value.name, value.parts[1].text
    if value.name and value.parts and value.parts[-1].text == r"\infty":
        return "<" if value.kind == "()" else "<=", value.parts[0].text, value.name
    return None


def _number(value: Value) -> Number | None:
    number = read_number(value.bare)
    return Number(number.value / 100, number.rounded) if number and value.unit == "percent" else number


def _is_mathematics(value: Value) -> bool:
    if value.kind == "value":
        return read_number(value.bare) is not None or parse(value.bare) is not None
    return all(map(_is_mathematics, value.parts))

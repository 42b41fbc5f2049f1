"""Accuracy reward: does the first answer of a response equal the label, as text or as mathematics?

Only an answer that is one maths expression as a whole is compared as mathematics. A search for numbers inside prose
would let "either 13 or 14" score for both.
"""

from __future__ import annotations

import logging
import re

from pepo_rlhf.rewards.expression import is_one_expression
from pepo_rlhf.rewards.notation import Value, normalise, read_metres, read_value

_TIME_OF_DAY = re.compile(r"0?(\d{1,2}):(\d\d)")
_MAX_CHARACTERS = 512


def extract_answer(response: str) -> str | None:
    """Return the text of the first answer tag pair, stripped; None when the response has none."""
    _, _, after_tag = response.partition("<answer>")
    answer, closing_tag, _ = after_tag.partition("</answer>")
    return answer.strip() if closing_tag else None


def accuracy_reward(response: str, label: str) -> float:
    """Return 1.0 if the first answer of the response equals the label, else 0.0."""
    return float(same_answer(extract_answer(response) or "", label))


def same_answer(answer: str, label: str) -> bool:
    """Return whether two answers are equal as text or as mathematics.

    An empty answer equals none, nor does one in another unit. An expression that would keep sympy busy for minutes,
    such as a tower of powers, is refused by its shape and counts as wrong; the time limit of the reward service would
    make a grader error of it. math-verify's own time-outs are off.
    """
    answer, label = normalise(answer), normalise(label)
    if answer == label or max(len(answer), len(label)) > _MAX_CHARACTERS:
        return answer == label != ""
    first, second = read_value(answer), read_value(label)
    return answer != "" and _same_value(read_metres(first, second), read_metres(second, first))


def is_mathematics(text: str) -> bool:
    """Return whether the text is one maths expression, which other ways to write it can equal."""
    return bool(_expression_of(text))


def number_in(text: str) -> float | None:
    """Return the number that the text is as mathematics; None if it is none."""
    try:
        return float(_expression_of(text)[0])
    except (LookupError, TypeError, ValueError, OverflowError):  # of prose, a set, an equation, a variable
        return None


def _same_value(answer: Value, label: Value) -> bool:
    if _differ(answer.unit, label.unit) or _differ(answer.variable, label.variable):
        return False
    if answer == label and answer.latex:
        return True  # words too, such as "yes" in a box
    if (time := _TIME_OF_DAY.fullmatch(answer.latex)) and (other := _TIME_OF_DAY.fullmatch(label.latex)):
        return time.groups() == other.groups()  # no ratios: 4:23 is not 8:46
    if "=" in answer.latex + label.latex:
        return _equal_expressions(_equation(answer), _equation(label))
    return _equal_expressions(answer.latex, label.latex)


def _differ(first: str, second: str) -> bool:
    return bool(first and second and first != second)


def _equation(value: Value) -> str:
    return f"{value.variable}={value.latex}" if value.variable and "=" not in value.latex else value.latex


def _equal_expressions(answer: str, label: str) -> bool:
    # math-verify reads the equation "13 = 14" as 14 when the label is a number.
    if not (is_one_expression(answer) and is_one_expression(label)) or ("=" in answer) != ("=" in label):
        return False

    # Imported here: sympy takes a second to load, and whoever only checks the configuration does not need it.
    from math_verify import verify

    return verify(_parse(label), _parse(answer), timeout_seconds=None)


def _expression_of(text: str) -> list:
    """Return what `_parse` makes of the bare value in a text; empty for a long text and for prose."""
    text = normalise(text)
    latex = read_value(text).latex if len(text) <= _MAX_CHARACTERS else ""
    return _parse(latex) if latex and is_one_expression(latex) else []


def _parse(latex: str) -> list:
    """Return the sympy expression of the whole text in a list; an empty list if it does not parse."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # math-verify warns that its time-outs are off, which is on purpose.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    # Its unit list has single letters in it, and its box search drops what stands beside a box.
    normalisation = NormalizationConfig(
        basic_latex=True, malformed_operators=True, nits=True, boxed="none", units=False
    )
    extraction = LatexExtractionConfig(boxed_match_priority=-1, normalization_config=normalisation)
    return parse(
        f"${latex}$",
        [extraction],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )

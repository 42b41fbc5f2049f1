"""Accuracy reward: does the first answer of a response equal the label, as text or as mathematics?

Only an answer that is one maths expression as a whole is compared as mathematics. A search for numbers inside prose
would let "either 13 or 14" score for both.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from itertools import accumulate

# NFKC would make 52 of 5².
_SUPERSCRIPTS = str.maketrans({"²": "^2", "³": "^3"})
# Signs and function names of plain text, as LaTeX.
_SIGNS = str.maketrans(
    {"√": r"\sqrt ", "π": r"\pi ", "°": r"^\circ ", "∠": r"\angle ", "△": r"\triangle ", "\u2212": "-", "\u2044": "/"}
)
_FUNCTION = re.compile(r"(?<![\\a-z])(sqrt|pi|(?:arc)?(?:sin|cos|tan)|log|ln)(?![a-z])")
_ROOT_IN_PARENTHESES = re.compile(r"\\sqrt ?\(([^()]*)\)")
_TEXT_COMMAND = re.compile(r"\\(?:text|mbox|mathrm|mathbf|textbf|textit|textrm) ?\{([^{}]*)\}")
_SPACING = re.compile(r"\$|~|\\[\[\](),;:! ]|\\q?quad\b| +")

# A box around the value; a quantity's name before it, such as "x =", "AB =" or "m \angle 4 =".
_BOXED = re.compile(r"\\boxed ?\{(.*)\}")
_NAMED = re.compile(r"[a-z\\_{} ]+\d*[} ]*=(.*)")
_UNIT = re.compile(
    r"(?<=[\d}) ])(?:(?:sq|square|cubic)\.? )?(?:[cmk]m|in|ft|yd|mi|foot|feet|(?:degree|unit|inch|yard|mile|"
    r"(?:centi|milli|kilo)?met(?:er|re))(?:s|es)?)\.?(?: ?\^? ?\{?[23]\}?)?$"
)

# Words are prose. Two numbers side by side, one below the other, or joined by a sign that math-verify reads as an
# equation, are two answers.
_NOT_ONE_EXPRESSION = re.compile(r"(?<![\\a-z])[a-z]{2}|\d \.?\d|[\d)}] ?_|\\approx|\\equiv")
# Sympy evaluates powers and factorials of integers at once, whatever their size; deep nesting takes its parser minutes.
_TOO_LARGE = re.compile(r"\^ ?\{[^{}]*\^|\^ ?\w+ ?\^|\^ ?[{(]* ?[-+]? ?\d{3,}|[})!] ?!|\d{3} ?!|binom")
_MAX_CHARACTERS = 512
_MAX_NORMALISED = 4096  # Python sorts combining marks in quadratic time: an hour for a million
_MAX_NESTING = 8


def extract_answer(response: str) -> str | None:
    """Text of the first answer tag pair, stripped; None when the response has none."""
    _, _, after_tag = response.partition("<answer>")
    answer, closing_tag, _ = after_tag.partition("</answer>")
    return answer.strip() if closing_tag else None


def accuracy_reward(response: str, label: str) -> float:
    """1.0 if the first answer of the response equals the label, else 0.0."""
    return float(same_answer(extract_answer(response) or "", label))


def same_answer(answer: str, label: str) -> bool:
    """Whether two answers are equal, as text or as mathematics; an empty one equals none.

    What would keep sympy busy for minutes, such as a tower of powers, is refused by its shape: a wrong answer, where
    the time limit of the reward service would make a grader error of it. math-verify's own time-outs are off.
    """
    answer, label = normalise(answer), normalise(label)
    return answer != "" and (answer == label or _equal_expressions(answer, label))


def is_mathematics(text: str) -> bool:
    """Whether the text is one maths expression, which other ways to write it can equal."""
    latex = _to_latex(normalise(text))
    return bool(latex) and len(latex) <= _MAX_CHARACTERS and _is_expression(latex) and bool(_parse(latex))


def normalise(text: str) -> str:
    """NFKC, case folded, white space folded, a trailing full stop dropped; of a long text, without NFKC."""
    text = " ".join(text.translate(_SUPERSCRIPTS).split())
    if len(text) <= _MAX_NORMALISED:
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def _equal_expressions(answer: str, label: str) -> bool:
    if max(len(answer), len(label)) > _MAX_CHARACTERS:
        return False
    answer, label = _to_latex(answer), _to_latex(label)
    # math-verify reads the equation "13 = 14" as 14 when the label is a number.
    if not (_is_expression(answer) and _is_expression(label)) or ("=" in answer) != ("=" in label):
        return False

    # Imported here: sympy takes a second to load, and whoever only checks the configuration does not need it.
    from math_verify import verify

    return verify(_parse(label), _parse(answer), timeout_seconds=None)


def _to_latex(text: str) -> str:
    """LaTeX of the bare value: no maths delimiters, text commands, spacing, box, name or unit."""
    text = _FUNCTION.sub(r"\\\1 ", text.translate(_SIGNS))
    text = _ROOT_IN_PARENTHESES.sub(r"\\sqrt{\1}", text)
    text = _SPACING.sub(" ", _TEXT_COMMAND.sub(r" \1 ", text)).strip()
    while match := _BOXED.fullmatch(text) or _NAMED.fullmatch(text):
        text = match.group(1).strip()
    return _UNIT.sub("", text).strip()


def _is_expression(latex: str) -> bool:
    """Whether the text may be one maths expression, of a size that sympy can take."""
    depths = accumulate((char in "({[") - (char in ")}]") for char in latex)
    return (
        max(depths, default=0) <= _MAX_NESTING
        and not _TOO_LARGE.search(latex)
        and not _NOT_ONE_EXPRESSION.search(latex)
    )


def _parse(latex: str) -> list:
    """Sympy expression of the whole text in a list; an empty list if it does not parse."""
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

"""Accuracy reward: does the first answer of a response equal the label, as text or as mathematics?

Only an answer that is one maths expression as a whole is compared as mathematics. A search for numbers inside prose
would let "either 13 or 14" score for both.
"""

from __future__ import annotations

import logging
import re
import unicodedata

from pepo_rlhf.rewards.expression import is_one_expression

# NFKC would make 52 of 5², 21/2 of 2½ and 60o of 60º.
_BEFORE_NFKC = str.maketrans(
    {"º": "°", "˚": "°"}
    | {sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    | {fraction: f" {fraction} " for fraction in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
)
# Signs and function names of plain text, as LaTeX.
_SIGNS = str.maketrans(
    {"√": r"\sqrt ", "π": r"\pi ", "°": r"^\circ ", "∠": r"\angle ", "△": r"\triangle ", "\u2212": "-", "\u2044": "/"}
    | dict.fromkeys("≈≃≅≡", r"\approx ")
)
_SPELLED = {"<=": r"\le ", ">=": r"\ge ", r"\degree": "°"}
_FUNCTION = re.compile(r"(?<![\\a-z])(sqrt|pi|(?:arc)?(?:sin|cos|tan)|log|ln)(?![a-z])")
_ROOT_IN_PARENTHESES = re.compile(r"\\sqrt ?\(([^()]*)\)")
_TEXT_COMMAND = re.compile(r"\\(?:text|mbox|mathrm|mathbf|textbf|textit|textrm) ?\{([^{}]*)\}")
_SPACING = re.compile(r"\\?\$|~|\\[\[\](),;:! ]|\\q?quad\b|\\(?:left|right)\b")

# A box around the value; a quantity's name before it, such as "x =", "AB =" or "m \angle 4 =".
_BOXED = re.compile(
    r"(?:(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:(?:correct|final) )?answer(?: is)?:? ?)?\\boxed ?\{(.*)\}"
    r"|\*\*(.*)\*\*"
)
_NAMED = re.compile(r"[a-z\\_{} ]+\d*[} ]*=(.*)")
_UNIT = re.compile(
    r"(?<=[\d}) ])(?:(sq|square|cubic)\.? )?([cmk]m|in|ft|yd|mi|foot|feet|degree|unit|inch|yard|mile|"
    r"(?:centi|milli|kilo)?met(?=er|re))(?:er|re)?(?:s|es)?\.?(?: ?\^? ?\{?([23])\}?)?$"
)
_ABBREVIATED = {"foot": "ft", "feet": "ft", "inch": "in", "yard": "yd", "mile": "mi"}
_ABBREVIATED |= {"centimet": "cm", "millimet": "mm", "kilomet": "km"}
_DIMENSIONS = {"sq": "2", "square": "2", "cubic": "3"}

# A number beside a bracket, which latex2sympy would add up as it does 1\frac{1}{2}; not \log_2(8) or \sin^2(x).
_FACTOR = re.compile(r"((?:^|[^_^\d])\d+) ?(?=\()|(\)) ?(?=[(\d]|\\[dt]?frac)")
_MIXED_NUMBER = re.compile(r"^([-+]?\d+) (\d+) ?/ ?(\d+)$")

_MAX_CHARACTERS = 512
_MAX_NORMALISED = 4096  # Python sorts combining marks in quadratic time: an hour for a million


def extract_answer(response: str) -> str | None:
    """Text of the first answer tag pair, stripped; None when the response has none."""
    _, _, after_tag = response.partition("<answer>")
    answer, closing_tag, _ = after_tag.partition("</answer>")
    return answer.strip() if closing_tag else None


def accuracy_reward(response: str, label: str) -> float:
    """1.0 if the first answer of the response equals the label, else 0.0."""
    return float(same_answer(extract_answer(response) or "", label))


def same_answer(answer: str, label: str) -> bool:
    """Whether two answers are equal, as text or as mathematics; an empty one, or one in another unit, equals none.

    What would keep sympy busy for minutes, such as a tower of powers, is refused by its shape: a wrong answer, where
    the time limit of the reward service would make a grader error of it. math-verify's own time-outs are off.
    """
    answer, label = normalise(answer), normalise(label)
    return answer != "" and (answer == label or _equal_expressions(answer, label))


def is_mathematics(text: str) -> bool:
    """Whether the text is one maths expression, which other ways to write it can equal."""
    latex = bare_value(text)
    return bool(latex) and is_one_expression(latex) and bool(_parse(latex))


def bare_value(text: str) -> str:
    """LaTeX of the value in a short text: no maths delimiters, box, name or unit around it; "" of a long text."""
    text = normalise(text)
    return _value_and_unit(text)[0] if len(text) <= _MAX_CHARACTERS else ""


def normalise(text: str) -> str:
    """NFKC, case folded, white space folded, a trailing full stop dropped; of a long text, without NFKC."""
    text = " ".join(text.translate(_BEFORE_NFKC).split())
    if len(text) <= _MAX_NORMALISED:
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def _equal_expressions(answer: str, label: str) -> bool:
    if max(len(answer), len(label)) > _MAX_CHARACTERS:
        return False
    (answer, answer_unit), (label, label_unit) = _value_and_unit(answer), _value_and_unit(label)
    if answer_unit and label_unit and answer_unit != label_unit:
        return False
    # math-verify reads the equation "13 = 14" as 14 when the label is a number.
    if not (is_one_expression(answer) and is_one_expression(label)) or ("=" in answer) != ("=" in label):
        return False

    # Imported here: sympy takes a second to load, and whoever only checks the configuration does not need it.
    from math_verify import verify

    return verify(_parse(label), _parse(answer), timeout_seconds=None)


def _value_and_unit(text: str) -> tuple[str, str]:
    """LaTeX of the bare value: no maths delimiters, text commands, spacing, box or name; its unit, "" for none."""
    for spelled, sign in _SPELLED.items():
        text = text.replace(spelled, sign)
    text = _FUNCTION.sub(r"\\\1 ", text.translate(_SIGNS))
    text = _ROOT_IN_PARENTHESES.sub(r"\\sqrt{\1}", text)
    text = " ".join(_SPACING.sub(" ", _TEXT_COMMAND.sub(r" \1 ", text)).split())
    unit = ""
    while True:
        if match := _BOXED.fullmatch(text) or _NAMED.fullmatch(text):
            text = "".join(match.groups(default="")).strip()
        elif not unit and (match := _UNIT.search(text)):
            dimension, name, exponent = match.groups(default="")
            unit = _ABBREVIATED.get(name, name) + _DIMENSIONS.get(dimension, exponent)
            text = text[: match.start()].strip()
        else:
            return _MIXED_NUMBER.sub(r"\1\\frac{\2}{\3}", _FACTOR.sub(r"\1\2\\cdot ", text)), unit


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

"""How answers are written: texts folded to one spelling, and plain or LaTeX mathematics to one LaTeX."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# NFKC would make 52 of 5², 21/2 of 2½ and 60o of 60º.
_BEFORE_NFKC = str.maketrans(
    {"º": "°", "˚": "°"}
    | {
        sign: rf" \frac{{{upper}}}{{{lower}}}"
        for sign in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
        for upper, lower in [unicodedata.normalize("NFKC", sign).split("\u2044")]
    }
)
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
# Signs and function names of plain text, as LaTeX.
_SIGNS = str.maketrans(
    {"√": r"\sqrt ", "π": r"\pi ", "°": r"^\circ ", "∠": r"\angle ", "△": r"\triangle "}
    | {"∞": r"\infty ", "·": r"\cdot ", "\u2212": "-", "\u2013": "-", "\u2044": "/"}
    | dict.fromkeys("≈≃≅≡", r"\approx ")
    | {letter: rf"\{unicodedata.name(letter).split()[-1].lower()} " for letter in "αβγδθφω"}
)
_SPELLED = {"<=": r"\le ", ">=": r"\ge ", r"\degree": "°", " percent": "%", " squared": "^2", " cubed": "^3"}
_FUNCTION = re.compile(r"(?<![\\a-z])(sqrt|pi|(?:arc)?(?:sin|cos|tan)|log|ln)(?![a-z])")
# Of several digits LaTeX would take the first alone.
_ROOT = re.compile(r"\\sqrt *(?:\(([^()]*)\)|(\d+(?:\.\d+)?))")
_DEGREES = re.compile(r" ?\^ ?(?:\{ ?\\circ ?\}|\\circ)")
_EXPONENT = re.compile(r"\^ ?([-+]?\d*\.?\d+)")
_TIMES_TEN_TO = re.compile(r"(?<=\d)(?: ?x ?10 ?\^|e(?=[-+]?\d+(?![\d.a-z])))")
_METRE = re.compile(r"\\(?:text|mathrm) ?\{[ ~]?m[ .]?\}")
_TEXT_COMMAND = re.compile(r"\\(?:text|mbox|mathrm|mathbf|textbf|textit|textrm) ?\{([^{}]*)\}")
_SPACING = re.compile(r"\\?\$|~|\\[\[\](),;:! ]|\\q?quad\b|\\(?:left|right)\b")

# A box around the value; a quantity's name before it, such as "x =", "AB =" or "m \angle 4 =".
_BOXED = re.compile(
    r"(?:(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:(?:correct|final) )?answer(?: is)?:? ?)?\\boxed ?\{(.*)\}"
    r"|\*\*(.*)\*\*"
)
_NAMED = re.compile(r"(?:([a-z]) ?|[a-z\\_{} ]+\d*[} ]*)=(.*)")
_UNIT = re.compile(
    r"(?<=[\d}) ])(?:(sq|square|cubic)\.? )?([cmk]m|in|ft|yd|mi|foot|feet|degree|deg|unit|inch|yard|mile|"
    r"second|sec|minute|min|hour|day|week|month|year|kg|kilogram|gram|mph|km/h|m/s|radian|dollar|"
    r"(?:centi|milli|kilo)?met(?=er|re))(?:er|re)?(?:s|es)?\.?(?: ?\^? ?\{?([23])\}?)?$"
)
_BARE_METRE = re.compile(r"(.*(?:[\d})]|\\pi))( ?)m(?: ?\^\{([23])\})?")
_ABBREVIATED = {"foot": "ft", "feet": "ft", "inch": "in", "yard": "yd", "mile": "mi", "deg": "degree"}
_ABBREVIATED |= {"centimet": "cm", "millimet": "mm", "kilomet": "km", "kilogram": "kg"}
_ABBREVIATED |= {"sec": "second", "min": "minute"}
_DIMENSIONS = {"sq": "2", "square": "2", "cubic": "3"}

# A number beside a bracket, which latex2sympy would add up as it does 1\frac{1}{2}; not \log_2(8) or \sin^2(x).
_FACTOR = re.compile(r"((?:^|[^_^\d])\d+) ?(?=\()|(\)) ?(?=[(\d]|\\[dt]?frac)")
_MIXED_NUMBER = re.compile(r"^([-+]?\d+) (\d+) ?/ ?(\d+)$")
# Marks around a whole answer.
_WRAPPED = re.compile(
    r"(?:\\(?:boxed|text|textbf|mathrm|mathbf) ?\{(.*)\}|\$(.*)\$|\\[(\[](.*)\\[)\]]|[\"'`](.*)[\"'`])\.?", re.DOTALL
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord("。"): ord(".")}
_MAX_NORMALISED = 4096  # Python sorts combining marks in quadratic time: an hour for a million


class Value(NamedTuple):
    """What an answer says: LaTeX without delimiters, box, name or unit; its unit and its variable, "" for none."""

    latex: str
    unit: str
    variable: str


def normalise(text: str) -> str:
    """Return the text in NFKC (unless it is long), case and white space folded, without a trailing full stop."""
    text = _SUPERSCRIPT.sub(r"^\g<0>", " ".join(text.translate(_BEFORE_NFKC).split()))
    if len(text) <= _MAX_NORMALISED:
        text = unicodedata.normalize("NFKC", text)
    text = " ".join(text.casefold().split())
    return (text[:-1] if text.endswith((".", "。")) else text).rstrip()


def unwrap(text: str) -> str:
    """Return the text without a box, quotes, bold type and dollars around it, and with full-width letters as ASCII."""
    text = text.translate(_FULL_WIDTH).replace("**", "").strip()
    while match := _WRAPPED.fullmatch(text):
        text = next(group for group in match.groups() if group is not None).strip()
    return text


def read_value(text: str) -> Value:
    """Return the value in a normalised text."""
    text, unit, variable = _as_latex(text), "", ""
    while True:
        if match := _BOXED.fullmatch(text):
            text = "".join(match.groups(default="")).strip()
        elif match := _NAMED.fullmatch(text):
            variable, text = variable or match.group(1) or "", match.group(2).strip()
        elif not unit and (match := _UNIT.search(text)):
            dimension, name, exponent = match.groups(default="")
            unit = _ABBREVIATED.get(name, name) + _DIMENSIONS.get(dimension, exponent)
            text = text[: match.start()].strip()
        else:
            text = _MIXED_NUMBER.sub(r"\1\\frac{\2}{\3}", _FACTOR.sub(r"\1\2\\cdot ", text))
            return Value(text, unit, variable)


def read_metres(value: Value, other: Value) -> Value:
    """Return the value with an m at its end read as metres, or as it is.

    It is read so where the other value has a unit, or where the m stands apart and the other value has none in it.
    Elsewhere m is a variable, as in 5m.
    """
    match = _BARE_METRE.fullmatch(value.latex)
    if value.unit or not match or not (other.unit or (match[2] and "m" not in other.latex.removesuffix(" m"))):
        return value
    return value._replace(latex=match[1], unit=f"met{match[3] or ''}")


def _as_latex(text: str) -> str:
    """Return a text with signs, roots and powers as in LaTeX, without delimiters, text commands and spacing."""
    for spelled, sign in _SPELLED.items():
        text = text.replace(spelled, sign)
    text = _FUNCTION.sub(r"\\\1 ", text.translate(_SIGNS))
    text = _EXPONENT.sub(r"^{\1}", _TIMES_TEN_TO.sub(r"\\cdot 10^", _ROOT.sub(r"\\sqrt{\1\2}", text)))
    text = _TEXT_COMMAND.sub(r" \1 ", _METRE.sub(" meter ", text))
    return _DEGREES.sub(r"^\\circ", " ".join(_SPACING.sub(" ", text).split()))

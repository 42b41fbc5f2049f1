"""How answers are written: width and spaces folded, wrappers taken off, plain mathematics turned into LaTeX."""

from __future__ import annotations

import re
import unicodedata

from pepo_rlhf.rewards.units import TEXT_MARK

_CJK = {"、": ",", "。": ".", "〜": "~", "【": "[", "】": "]", "〔": "[", "〕": "]"}
_CJK |= dict.fromkeys("「」『』《》“”", '"') | dict.fromkeys("‘’", "'")
_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {ord(c): sign for c, sign in _CJK.items()}
# NFKC would make 52 of 5², 21/2 of 2½ and 60o of 60º.
_SIGNS = str.maketrans(
    dict.fromkeys("º˚", "°")
    | dict.fromkeys("−–‐‑﹣", "-")
    | {"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∈": r"\in ", "∪": r"\cup ", "±": r"\pm ", "×": r"\times "}
    | dict.fromkeys("≈≃≅≡", r"\approx ")
    | {"\u2044": "/", TEXT_MARK: " "}
    | {
        sign: rf" \frac{{{upper}}}{{{lower}}}"
        for sign in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
        for upper, lower in [unicodedata.normalize("NFKC", sign).split("\u2044")]
    }
)
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def _run_of(tag: str) -> re.Pattern[str]:
    """Return a pattern for characters that NFKC makes plain ones of: 2n of 2ⁿ, 125 of 12₅."""
    characters = (chr(code) for code in range(0xA0, 0x3000) if chr(code) not in "ªº℠™")
    return re.compile("[" + "".join(c for c in characters if unicodedata.decomposition(c).startswith(tag)) + "]+")


_RAISED, _LOWERED = _run_of("<super>"), _run_of("<sub>")
_DOLLARS = re.compile(r"^([-+]?)(?:US)?\$(?=[\d.][^$]*$)")  # a currency: mathematics would have a second sign
_MAX_NORMALISED = 4096  # Python sorts combining marks in quadratic time: an hour for a million

# Marks around a whole answer, which are not inside it, and commands with their argument.
_MARKS = re.compile(
    r"```\w*\s([^`]*)```|`{1,2}([^`]+)`{1,2}|\*{1,3}([^*]+)\*{1,3}|\"([^\"]+)\"|'([^']+)'|\${1,2}([^$]*)\${1,2}|"
    r"\\\(((?:(?!\\\)).)*)\\\)|\\\[((?:(?!\\\]).)*)\\\]",
    re.DOTALL,
)
_COMMAND = re.compile(r"\\(?:boxed|fbox|text(?:bf|it|rm)?|math(?:bf|rm|it)|mbox|bm|boldsymbol|displaystyle) *(?={|\d)")
_BOLD = re.compile(r"(?<![\w*])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?![\w*])")
_ANSWER_IS = re.compile(
    r"(?:(?:so|thus|hence|therefore),? )?(?:the )?(?:(?:correct|final) )?answer(?: is)?:? ?(?=\$*\\f?box)",
    re.IGNORECASE,
)

_LAYOUT = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![a-zA-Z])|\\!|(?<!\\)\$|(?<!\\)\\[()\[\]]")
_SPACE = re.compile(r"~|(?<!\\)\\[,;: ]|\\q?quad")
_TEXT_COMMAND = re.compile(r"\\(?:(?:text|math)(?:bf|it|rm)?|mbox|bm|operatorname) ?\{([^{}]*)\}")
_TWICE_ESCAPED = re.compile(r"\\\\(?=[a-zA-Z])")
_DEGREES = re.compile(r" ?\^ ?(?:\{ ?\\circ ?\}|\\circ(?![a-z]))|\\degree(?![a-z])")

_TO_LATEX = str.maketrans(
    {"√": r"\sqrt ", "π": r"\pi ", "∠": r"\angle ", "△": r"\triangle ", "∞": r"\infty ", "·": r"\cdot "}
    | {"°": r"^\circ ", TEXT_MARK: None}
    | {letter: rf"\{unicodedata.name(letter).split()[-1].lower()} " for letter in "αβγδθφω"}
)
_FUNCTION = re.compile(r"(?<![\\a-z])(sqrt|pi|(?:arc)?(?:sin|cos|tan)|log|ln)(?![a-z])")
# Of several digits LaTeX would take the first alone.
_ROOT = re.compile(r"\\sqrt *(?:\(([^()]*)\)|(\d+(?:\.\d+)?))")
_EXPONENT = re.compile(r"\^ ?([-+]?\d*\.?\d+)")
_TIMES_TEN_TO = re.compile(r"(?<=\d)(?: ?(?:x|\\times) ?10 ?\^|e(?=[-+]?\d+(?![\d.a-z])))")
# A number beside a bracket, which latex2sympy would add up as it does 1\frac{1}{2}; not \log_2(8) or \sin^2(x).
_FACTOR = re.compile(r"((?:^|[^_^\d])\d+) ?(?=\()|(\)) ?(?=[(\d]|\\[dt]?frac)")
_MIXED_NUMBER = re.compile(r"^([-+]?\d+) (\d+) ?/ ?(\d+)$")


def fold_width(text: str) -> str:
    """Return the text with full-width letters, digits and punctuation, and CJK punctuation, as ASCII."""
    return text.translate(_WIDTH)


def normalise(text: str) -> str:
    """Return the text with width, spaces and signs folded, in NFKC unless it is long, without a full stop at its end.

    Case stays: it tells units apart.
    """
    text = " ".join(fold_width(text).translate(_SIGNS).split())
    if len(text) <= _MAX_NORMALISED:
        text = _RAISED.sub(lambda run: run[0] if _SUPERSCRIPT.fullmatch(run[0]) else f"^{{{_plain(run[0])}}}", text)
        text = _LOWERED.sub(lambda run: f"_{{{_plain(run[0])}}}", text)
    text = _SUPERSCRIPT.sub(r"^\g<0>", text)
    if len(text) <= _MAX_NORMALISED:
        text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    return _DOLLARS.sub(r"\1\\$", " ".join(text.removesuffix(".").rstrip(" ,;").split()))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-")


def unwrap(text: str) -> str:
    """Return the text without boxes, dollars, bold type, code marks, quotes and text commands around it."""
    text = _BOLD.sub(r"\1", fold_width(text)).strip()
    while True:
        bare = _ANSWER_IS.sub("", text, count=1) if _ANSWER_IS.match(text) else text
        stopped = bare.removesuffix(".")
        if match := _MARKS.fullmatch(stopped):
            bare = next(group for group in match.groups() if group is not None)
        elif (match := _COMMAND.match(stopped)) and _closes_at_end(stopped[match.end() :]):
            bare = stopped[match.end() :].removeprefix("{").removesuffix("}")
        if bare == text:
            return text
        text = bare.strip()


def without_layout(text: str) -> str:
    """Return LaTeX without what only spaces or sizes it, and a mark in place of text commands."""
    if "matrix" not in text and "array" not in text:
        text = _TWICE_ESCAPED.sub(r"\\", text)
    text = _TEXT_COMMAND.sub(rf" {TEXT_MARK}\1", _SPACE.sub(" ", _LAYOUT.sub("", text)))
    return _DEGREES.sub("°", " ".join(text.split()))


def as_latex(text: str) -> str:
    """Return a value without its layout, with signs, functions, roots and powers of plain text as in LaTeX."""
    text = _FUNCTION.sub(r"\\\1 ", text.casefold().translate(_TO_LATEX))
    text = _EXPONENT.sub(r"^{\1}", _TIMES_TEN_TO.sub(r"\\cdot 10^", _ROOT.sub(r"\\sqrt{\1\2}", text)))
    return _MIXED_NUMBER.sub(r"\1\\frac{\2}{\3}", _FACTOR.sub(r"\1\2\\cdot ", " ".join(text.split())))


def _closes_at_end(argument: str) -> bool:
    """Return whether a text is a number, or one pair of braces."""
    if not argument.startswith("{"):
        return re.fullmatch(r"[\d.]+", argument) is not None
    depth = 0
    for position, char in enumerate(argument):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return position == len(argument) - 1
    return False

"""What an answer says: a value, a list, a set, a tuple or interval, a matrix, an equation or an inequality."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from pepo_rlhf.rewards.expression import rounds_to
from pepo_rlhf.rewards.notation import as_latex, unwrap, without_layout
from pepo_rlhf.rewards.units import TEXT_MARK, split_unit


class Value(NamedTuple):
    """What an answer says.

    kind: "value"; "list" (in any order); "{}" (a set); "()", "[]", "(]", "[)" (a tuple, or an interval); "matrix";
        "ratio" of three or more; "chain", whose parts must all be equal; "either", an exact value and its rounding; or
        the sign of a relation: "=", "<", "<=", "!="
    parts: the elements; the sides of a relation
    text: of a value, with its unit, as LaTeX
    bare: of a value, without its unit, as LaTeX
    unit: as `split_unit` returns it
    uncertain: whether the unit may be a variable
    name: of the quantity, as in x = 5; "" for none
    between: whether it is an interval that was written as an inequality
    """

    kind: str
    parts: tuple[Value, ...] = ()
    text: str = ""
    bare: str = ""
    unit: str = ""
    uncertain: bool = False
    name: str = ""
    between: bool = False


_MATRIX = re.compile(r"\\begin ?\{([bpvV]?matrix|array)\}(?: ?\{[clr| ]*\})?(.*)\\end ?\{\1\}")
_SEMICOLON = re.compile(";")
_JOINT = re.compile(rf",? *{TEXT_MARK}?,? *(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|,|\\(?:cup|lor|vee)(?![A-Za-z])")
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,])|^([-+]?\d{1,3}(?: \d{3}|\{,\}\d{3})+)(?![ ,]?\d)")
_RELATION = re.compile(r"\\(?:leq?|leqslant|lt|geq?|geqslant|gt|neq?|in|approx)(?![A-Za-z])|[<>!]=|=[<>]|[<>=]")
_RELATIONS = {r"\lt": "<", r"\gt": ">", "=<": "<=", "=>": ">=", r"\approx": "~", r"\in": "="}
_RELATIONS |= dict.fromkeys((r"\le", r"\leq", r"\leqslant"), "<=") | dict.fromkeys(
    (r"\ge", r"\geq", r"\geqslant"), ">="
)
_RELATIONS |= dict.fromkeys((r"\ne", r"\neq"), "!=")
_MIRRORED = {">": "<", ">=": "<="}
_OPENING, _CLOSING = "([{", ")]}"
# A quantity's name: letters and commands, digits only in an index; no operation, root or negation.
_NAME = re.compile(
    rf"(?!.*(?:\\sqrt|\\?(?<![a-z])(?:ln|log|lg)(?![a-z])|(?<![a-z])(?:not|cannot|without)(?![a-z])))(?=.*[a-z∠△°αβγδθφω])"
    rf"(?:[a-zαβγδθφω∠△\\_{{}}():,' {TEXT_MARK}]|(?<=[a-z_(])\d|(?<=_\{{)\d|(?<=\d)\d|(?<=[a-z∠] )\d)+",
    re.IGNORECASE,
)
_BESIDE_THE_NAME = re.compile(
    rf"[{TEXT_MARK} {{}}]|(?<![A-Za-z\\])m(?=[ {TEXT_MARK}]*(?:\\angle|∠))|\\(?:angle|triangle)|[∠△]"
)
_LENGTH_OF = re.compile(r"\|([A-Z]{2})\|")  # of a segment; |x| is a value
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_MAX_DEPTH = 8


@lru_cache(maxsize=256)
def read(text: str) -> Value:
    """Return what a normalised text says."""
    return _read(without_layout(unwrap(text)), 0)


def _read(text: str, depth: int) -> Value:
    text = without_layout(unwrap(text)).strip().removeprefix("+").lstrip()
    text = _LENGTH_OF.sub(r"\1", text)
    if depth < _MAX_DEPTH:
        for form in (_matrix, _elements, _relation, _plus_minus, _bracketed, _ratio):
            if value := form(text, lambda part: _read(part, depth + 1)):
                return value
        measured, unit, uncertain = split_unit(text)
        if unit:
            return _read(measured, depth + 1)._replace(text=_latex(text), unit=unit, uncertain=uncertain)
    return Value("value", (), _latex(text), _latex(text))


Reader = Callable[[str], Value]


def _latex(text: str) -> str:
    return as_latex(_THOUSANDS.sub(lambda match: re.sub(r"[^-+\d]", "", match[0]), text))


def _matrix(text: str, read_part: Reader) -> Value | None:
    if not (match := _MATRIX.fullmatch(re.sub(r"^[\[(|] ?(?=\\begin)|(?<=\}) ?[\])|]$", "", text))):
        return None
    rows = [row.split("&") for row in match[2].split("\\\\") if row.strip()]
    return Value("matrix", tuple(Value("row", tuple(map(read_part, row))) for row in rows))


def _elements(text: str, read_part: Reader) -> Value | None:
    parts = _split(text, _SEMICOLON)
    if len(parts) == 1:
        parts = _split(_THOUSANDS.sub(lambda match: match[0].replace(",", ""), text), _JOINT)
    if len(parts) == 1 or not all(part.strip() for part in parts):
        return None
    return Value("list", tuple(map(read_part, parts)))


def _relation(text: str, read_part: Reader) -> Value | None:
    parts, signs = _split(text, _RELATION), _signs(text)
    if not signs or len(parts) != len(signs) + 1 or not all(part.strip() for part in parts[1:]):
        return None
    if signs[-1] == "~" and parts[-2].strip() and not _NAME.fullmatch(parts[-2].strip()):
        return _rounded(read_part(text.rpartition(r"\approx")[0]), read_part(parts[-1]))
    if set(signs) <= {"=", "~"}:
        return _equation([part.strip() for part in parts], read_part)
    sides = tuple(map(read_part, parts))
    if all(sign in _MIRRORED for sign in signs):
        parts, sides, signs = parts[::-1], sides[::-1], [_MIRRORED[sign] for sign in signs[::-1]]
    if not all(sign in ("<", "<=") for sign in signs):
        return Value(signs[0], sides) if len(signs) == 1 and signs[0] == "!=" else None
    return _interval(parts, sides, signs)


def _rounded(exact: Value, decimal: Value) -> Value | None:
    """Return a value that is written with its rounding: the label may be either."""
    same_unit = not exact.unit or not decimal.unit or exact.unit == decimal.unit
    known = same_unit and not decimal.bare.endswith(".") and rounds_to(exact.bare, decimal.bare)
    return exact._replace(kind="either", parts=(exact, decimal)) if known else None


def _signs(text: str) -> list[str]:
    return [_RELATIONS.get(sign, sign) for sign in _matches(text, _RELATION)]


def _equation(parts: list[str], read_part: Reader) -> Value | None:
    """Return the value of x = 5, of 2 + 3 = 5 and of chains of them; an equation as a relation."""
    if not parts[0]:  # as in "≈ 12.6"
        return read_part(parts[1]) if len(parts) == 2 else None
    if len(parts) == 2 and _NAME.fullmatch(parts[1]) and not _NAME.fullmatch(parts[0]):
        parts = parts[::-1]
    names = [parts.pop(0) for _ in parts[:-1] if _NAME.fullmatch(parts[0])]
    values = tuple(map(read_part, parts))
    if len({value.unit for value in values if value.unit}) > 1:  # 5 kg = 5 g
        return None
    if names:
        value = values[-1] if len(values) == 1 else Value("chain", values)
        return value._replace(name=_BESIDE_THE_NAME.sub("", names[0]).casefold())
    return Value("=" if len(values) == 2 else "chain", values)


def _interval(parts: list[str], sides: tuple[Value, ...], signs: list[str]) -> Value | None:
    """Return a < x <= b as an interval of x, and any other inequality as a relation."""
    infinite = Value("value", (), r"\infty", r"\infty"), Value("value", (), r"-\infty", r"-\infty")
    constant = [not _VARIABLE.search(side.bare) and side.kind == "value" for side in sides]
    named = [_NAME.fullmatch(part.strip()) is not None for part in parts]
    if len(sides) == 3 and constant[0] and named[1] and constant[2]:
        low, name, high, signs = sides[0], parts[1], sides[2], signs
    elif len(sides) == 2 and named[0] and constant[1]:
        low, name, high, signs = infinite[1], parts[0], sides[1], ["<", *signs]
    elif len(sides) == 2 and constant[0] and named[1]:
        low, name, high, signs = sides[0], parts[1], infinite[0], [*signs, "<"]
    else:
        return Value(signs[0], sides) if len(sides) == 2 else None
    kind = ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]")
    return Value(kind, (low, high), between=True, name=_BESIDE_THE_NAME.sub("", name).casefold())


def _plus_minus(text: str, read_part: Reader) -> Value | None:
    if text.count("\\pm") != 1:
        return None
    return Value("list", (read_part(text.replace("\\pm", "+")), read_part(text.replace("\\pm", "-"))))


def _bracketed(text: str, read_part: Reader) -> Value | None:
    opening, inside, closing = text[:1], text[1:-1], text[-1:]
    if text.startswith("\\{") and text.endswith("\\}"):
        opening, inside, closing = "{", text[2:-2], "}"
    if not (opening and opening in _OPENING and closing in _CLOSING and len(text) > 2 and _is_one_pair(text)):
        return None
    # Plain braces are LaTeX's way to group: {1, 2} may be a list.
    kind, parts = "list" if text[0] == "{" else opening + closing, _split(inside, _SEMICOLON)
    parts = parts if len(parts) > 1 else _split(inside, re.compile(","))
    if not all(part.strip() for part in parts) or (opening == "{") != (closing == "}"):
        return None
    if len(parts) == 1:
        return read_part(inside) if opening != "[" else None
    return Value(kind, tuple(map(read_part, parts)))


def _ratio(text: str, read_part: Reader) -> Value | None:
    parts = _split(text, re.compile(" ?: ?"))
    if len(parts) < 3 or re.fullmatch(r"[\d:]+", text) and ":0" in text:
        return None
    return Value("ratio", tuple(read_part(f"({part})/({parts[0]})") for part in parts[1:]))


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Return the parts of a text between separators outside brackets."""
    parts, start = [], 0
    for match in _outside_brackets(text, separator):
        parts.append(text[start : match.start()])
        start = match.end()
    return [*parts, text[start:]]


def _matches(text: str, separator: re.Pattern[str]) -> list[str]:
    return [match[0] for match in _outside_brackets(text, separator)]


def _outside_brackets(text: str, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    depths, depth = [], 0
    for char in text:
        depth += (char in _OPENING) - (char in _CLOSING)
        depths.append(depth)
    return [match for match in pattern.finditer(text) if depths[match.start()] == 0]


def _is_one_pair(text: str) -> bool:
    """Return whether the bracket that a text begins with closes at its end."""
    depth = 0
    for position, char in enumerate(text):
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0 and char in _CLOSING:
            return position == len(text) - 1
    return False

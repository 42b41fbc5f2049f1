"""Expressions as sympy compares them: by their values, and only those that it answers in seconds."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from math import comb, prod
from typing import Any, NamedTuple

# Words are prose. Two numbers side by side, one below the other, or joined by a sign that latex2sympy reads as an
# equation, are two answers.
_NOT_ONE_EXPRESSION = re.compile(
    r"(?<![\\a-z])[a-z]{2}|\d \.?\d|[\d)}] ?_|\\approx|\\equiv|\\boxed|\\pm|\\\\|\^ ?\{?\\circ ?\}? ?[\d.({]|"
    r"[<>=,;$'≊≋]"
)
# Sympy evaluates factorials of integers at once, whatever their size; deep nesting takes its parser minutes.
_TOO_LARGE = re.compile(r"[})!] ?!|\d{3} ?!|binom|choose|gamma ?\(")
# The end of a base that is no bracket: a digit, a variable. The exponent, in which there is no power or factorial.
_POWER = re.compile(
    r"((?<![\\a-z])[a-z]|\d)?\^(\{(?:[^{}^!]|\{(?:[^{}^!]|\{[^{}^!]*\})*\})*\}|\((?:[^()^!]|\([^()^!]*\))*\)|[-+]?(?:\d+|[a-z])(?!\d)|"
    r"\\[a-z]+\b(?! ?[{(]))(?!\^)"
)
_INTEGER = re.compile(r"\d+")
_VARIABLE = re.compile(r"(?<![\\a-z])[a-z]")
_IMAGINARY = re.compile(r"(?<![\\a-z])i(?![a-z])")
_MAX_TERMS = 4000  # a second or two to multiply out
_MAX_NESTING = 7

_DECIMAL = r"(\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(rf"([-+]?) ?{_DECIMAL}(?: ?\\cdot ?10 ?\^ ?\{{ ?([-+]?\d{{1,3}}) ?\}})?")
_FRACTION = re.compile(
    rf"([-+]?) ?(\d*) ?\\[dtc]?frac ?\{{ ?([-+]?){_DECIMAL} ?\}} ?\{{ ?{_DECIMAL} ?\}}|([-+]?){_DECIMAL} ?/ ?{_DECIMAL}"
)
_TOLERANCE = Fraction(1, 10**6)
# Digits that two spellings of an irrational value share, of those that are computed.
_SHARED_DIGITS, _DIGITS = 30, 50
_POINTS = ((0.7310, 1.3170, 2.1130, 0.4570), (-1.2930, 0.5710, 1.7390, -0.8830), (2.3190, -0.6730, -1.9070, 3.1810))


class Number(NamedTuple):
    """A number, and whether it is written as a decimal, which may be rounded."""

    value: Fraction
    rounded: bool


@lru_cache(maxsize=1024)
def read_number(latex: str) -> Number | None:
    """Return the number that a text is without any calculation; None if it is none."""
    if match := _NUMBER.fullmatch(latex):
        sign, digits, exponent = match.groups()
        return Number(_signed(sign, Fraction(digits)) * Fraction(10) ** int(exponent or 0), "." in digits)
    if match := _FRACTION.fullmatch(latex):
        sign, whole, inner, upper, lower, plain, above, below = match.groups()
        numerator, denominator = Fraction(upper or above), Fraction(lower or below)
        if denominator:
            value = Fraction(whole or 0) + _signed(inner or "", numerator / denominator)
            return Number(_signed(sign or plain or "", value), "." in latex)
    return None


def same_number(first: Number, second: Number) -> bool:
    """Return whether two numbers are equal, decimals to six places and, if they are small, five significant digits."""
    return first.value == second.value or (first.rounded or second.rounded) and _close(first.value, second.value)


def is_one_expression(latex: str) -> bool:
    """Return whether the text may be one maths expression, of a size that sympy can take."""
    depths = accumulate((char in "({[") - (char in ")}]") for char in latex)
    return (
        latex != ""
        and max(depths, default=0) <= _MAX_NESTING
        and not _TOO_LARGE.search(latex)
        and not _NOT_ONE_EXPRESSION.search(latex)
        and _is_small(latex)
    )


def same_expression(first: str, second: str) -> bool:
    """Return whether two expressions have the same values, at the same variables."""
    one, other = parse(first), parse(second)
    if one is None or other is None:
        return False
    rounded, difference = "." in first + second, one - other
    if difference.is_Rational and not rounded:
        return bool(difference == 0)
    return one == other or _at_points(one, other, lambda a, b: _near(a, b, rounded), difference)


def same_relation(first: tuple[str, str], second: tuple[str, str], any_sign: bool) -> bool:
    """Return whether two equations or inequalities are multiples of each other; of inequalities, positive ones."""
    sides = [parse(side) for side in (*first, *second)]
    if any(side is None for side in sides):
        return False
    one, other = sides[0] - sides[1], sides[2] - sides[3]
    if not one.free_symbols or one.free_symbols != other.free_symbols:
        return False
    ratios = [a / b for a, b in _values(one, other) if b != 0]
    ordered = any_sign or all(ratio.is_positive for ratio in ratios)
    return bool(ratios) and ordered and all(_near(ratio, ratios[0], False) and ratio != 0 for ratio in ratios)


def rounds_to(latex: str, decimal: str) -> bool:
    """Return whether an exact number rounds to a decimal at the decimal's last place."""
    number, exact = read_number(decimal), None if "." in latex else parse(latex)
    if number is None or not number.rounded or exact is None or exact.free_symbols:
        return False
    half = Fraction(1, 2 * 10 ** len(decimal.partition(".")[2]))
    return bool(abs(exact.evalf(_DIGITS) - number.value) <= half)


@lru_cache(maxsize=256)
def parse(latex: str) -> Any:
    """Return the sympy expression of the whole text, its decimals exact; None for what is none, or a large one."""
    if not is_one_expression(latex):
        return None
    # Imported here: sympy takes a second to load, and whoever only checks the configuration does not need it.
    import sympy
    from latex2sympy2_extended import NormalizationConfig, latex2sympy

    # Its unit list has single letters in it, and its box search drops what stands beside a box.
    normalisation = NormalizationConfig(
        basic_latex=True, malformed_operators=True, nits=True, boxed="none", units=False
    )
    try:
        expression = latex2sympy(
            latex, is_real=not _IMAGINARY.search(latex), convert_degrees=False, normalization_config=normalisation
        ).doit()
        if not isinstance(expression, sympy.Expr):
            return None
        exact = {number: sympy.Rational(str(number)) for number in expression.atoms(sympy.Float)}
        result = expression.xreplace(exact | {s: sympy.I for s in expression.free_symbols if s.name == "i"})
        return None if result.has(sympy.zoo, sympy.nan) else result  # 1/0 equals no other 5/0
    except Exception:  # its parser and sympy raise what they meet, of any type, for a text that is no expression
        return None


def _at_points(one: Any, other: Any, agree: Any, difference: Any) -> bool:
    values = _values(one, other)
    if values:
        return all(agree(a, b) for a, b in values)
    return difference.expand() == 0  # no numbers come of f(x) or of a sum to n


def _values(one: Any, other: Any) -> list[tuple[Any, Any]]:
    """Return the values of two expressions, as sympy numbers, at each of a few points where both have one."""
    import sympy

    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    values = []
    for point in _POINTS if symbols else _POINTS[:1]:
        numbers = [sympy.Rational(str(point[index % 4])) + index // 4 for index in range(len(symbols))]
        pair = [side.subs(dict(zip(symbols, numbers, strict=True))).evalf(_DIGITS) for side in (one, other)]
        if all(value.is_number and value.is_finite for value in pair):
            values.append((pair[0], pair[1]))
    return values


def _near(first: Any, second: Any, rounded: bool) -> bool:
    difference, size = abs(first - second), max(abs(first), abs(second))
    if rounded:
        return bool(difference <= float(_TOLERANCE) * min(1, 10 * size))
    return bool(difference <= size * 10**-_SHARED_DIGITS or size < 10**-_DIGITS)


def _close(first: Fraction, second: Fraction) -> bool:
    return abs(first - second) <= _TOLERANCE * min(Fraction(1), 10 * max(abs(first), abs(second)))


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _is_small(latex: str) -> bool:
    """Return whether a bound of the terms, or digits, that its powers and brackets multiply out to is small.

    Exponents of brackets may nest, so they multiply; so do the numbers in an exponent, which bounds their sum as well.
    """
    latex = latex.replace(" ^", "^").replace("^ ", "^")
    powers = [(match[1], prod(max(int(n), 2) for n in _INTEGER.findall(match[2]))) for match in _POWER.finditer(latex)]
    if len(powers) < latex.count("^"):
        return False
    of_brackets = prod(power for base, power in powers if not base)
    brackets = sum(latex.count(bracket) for bracket in "({[")
    degree = of_brackets * max((power for base, power in powers if base), default=1) + brackets
    variables = len(set(_VARIABLE.findall(latex))) + 1
    return comb(degree + variables, variables) <= _MAX_TERMS

"""Whether a text may be one maths expression that sympy answers in seconds: told by its shape, without sympy."""

from __future__ import annotations

import re
from itertools import accumulate
from math import comb, prod

# Words are prose. Two numbers side by side, one below the other, or joined by a sign that math-verify reads as an
# equation, are two answers.
_NOT_ONE_EXPRESSION = re.compile(
    r"(?<![\\a-z])[a-z]{2}|\d \.?\d|[\d)}] ?_|\\approx|\\equiv|\\boxed|\\circ ?\}? ?[\d.({]"
)
# Sympy evaluates factorials of integers at once, whatever their size; deep nesting takes its parser minutes.
_TOO_LARGE = re.compile(r"[})!] ?!|\d{3} ?!|binom|choose|gamma ?\(")
# The end of a base that is no bracket: a digit, a variable. The exponent, in which there is no power or factorial.
_POWER = re.compile(
    r"((?<![\\a-z])[a-z]|\d)?\^(\{(?:[^{}^!]|\{[^{}^!]*\})*\}|\((?:[^()^!]|\([^()^!]*\))*\)|[-+]?(?:\d+|[a-z])(?!\d)|"
    r"\\[a-z]+\b(?! ?[{(]))(?!\^)"
)
_INTEGER = re.compile(r"\d+")
_VARIABLE = re.compile(r"(?<![\\a-z])[a-z]")
_MAX_TERMS = 4000  # a second or two to multiply out
_MAX_NESTING = 8


def is_one_expression(latex: str) -> bool:
    """Return whether the text may be one maths expression, of a size that sympy can take."""
    depths = accumulate((char in "({[") - (char in ")}]") for char in latex)
    return (
        max(depths, default=0) <= _MAX_NESTING
        and not _TOO_LARGE.search(latex)
        and not _NOT_ONE_EXPRESSION.search(latex)
        and _is_small(latex)
    )


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

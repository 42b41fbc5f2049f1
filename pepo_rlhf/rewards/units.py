"""Units at the end of an answer, or a currency before it: names, symbols, prefixes and compounds are pint's.

Nouns that are counted (5 people) and measure words (8个) are units by their text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

TEXT_MARK = "\x02"  # stands before what a LaTeX answer has in \text{} and the like

# What pint does not have, in its own notation; "square units" would else be square micronits.
_DEFINITIONS = """
    counted_unit = [counted] = _ = unit
    dollar = [dollar] = _ = USD
    euro = [euro] = _ = EUR
    yuan = [yuan] = _ = CNY = RMB = 元
    yen = [yen] = _ = JPY = 円
    rupee = [rupee] = _ = INR
    won = [won] = _ = KRW = 원
    ruble = [ruble] = _ = RUB
    cent = [cent]
    @alias degree = 度
    @alias meter = 米
    @alias kilometer = 公里 = 千米
    @alias gram = 克
    @alias kilogram = 公斤 = 千克
    @alias liter = 升
    @alias metric_ton = 吨
    @alias second = 秒
    @alias minute = 分钟
    @alias hour = 小时
    @alias day = 天
    @alias year = 年
    厘米 = centimeter
    毫米 = millimeter
    毫升 = milliliter
"""
_MEASURE_WORDS = "个個只隻条條张張本位名人辆輛件块塊根支枚颗顆棵座间間层層页頁次种種组組套瓶杯箱袋盒朵头頭匹家岁歲개명"
_CURRENCIES = {r"\$": "dollar", "€": "euro", "£": "pound", "₹": "rupee", "¥": "yen", "₩": "won", "₽": "ruble"}
_CODES = ("USD", "EUR", "GBP", "INR", "JPY", "KRW", "RUB", "CNY", "RMB")
_SPELLED = _CURRENCIES | {
    "per cent": "percent",
    "percentage": "percent",
    "pct": "percent",
    "sq.": "square ",
    "degrees C": "degC",
    "degrees F": "degF",
    "degree C": "degC",
    "degree F": "degF",
    "degCelsius": "degC",
    "degFahrenheit": "degF",
    "° ": "°",
    "°": "deg",
}
_CHINESE_POWER = re.compile(r"(平方|立方)(.+)")
_CURRENCY = re.compile(rf"([-+]?)({'|'.join((*map(re.escape, _CURRENCIES), *_CODES))})\s*(?=[\d.])")
# Letters and signs that no value ends in, with exponents; never the end of a LaTeX command.
_TAIL = re.compile(
    rf"(?<![\\A-Za-z])(?:[A-Za-z_µμΩÅ°%€£₹¥₩₽\u4e00-\u9fff\uac00-\ud7af./*{TEXT_MARK} ]|\\(?:cdot|%|\$)|"
    r"(?<=\w) ?\^ ?\{?-?[123]\}?)+$"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2}")
_WORD_START = re.compile(rf"(?<![\w°/*^.]){TEXT_MARK}?(?=[^\s{TEXT_MARK}/*^])")
# Letters alone are variables too: these are units where they stand apart, those above any where they are in \text{}.
_SINGLE_LETTERS = "mgshlLNJWVAKCFT"
_MARKED_LETTERS = _SINGLE_LETTERS + "dtHSΩ"
_BESIDE_A_DIGIT = re.compile(r"(?:[kcdmMµμ](?:[mgLlNJWVA]|Hz|Pa)|ft|in|yd|mi|lb|oz|Hz|Pa|hr|[km]m/h|m/s).*|[^a-zA-Z].*")
_PREFIXES = ("", "kilo", "centi", "milli", "mega", "giga", "micro", "nano", "deci", "tera")
# Units of pint's that are English words, and constants.
_NO_UNITS = re.compile(
    r"(?<!\w)(?:are|at|has|hand|fifth|quarter|an|as|he|me|us|pi|count|dot|[kce]|planck_\w*|elementary_\w*|avogadro\w*)s?(?!\w)"
)
_PLURAL = re.compile(r"(?:people|men|women|children|feet|mice|fish|sheep|deer|[a-z]{3,}(?<![sui])s)")
# Numbers in words, and words that are no nouns.
_NO_NOUNS = re.compile(
    r"(?:hundred|(?:thous|m|b|tr)\w*(?:and|illion)|dozen|hal[fv]e?|third|quarter|\w+th|percent|pair|couple|score|doe|equal|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|lakh|crore|grosse?|time|more|les|not|wrong|false|lie|gros|googol|double|triple|factorial|negative|inverse|reciprocal|squared|cubed|\w{0,2})"
)


class Quantity(NamedTuple):
    """The end of an answer split off: the value, its unit ("" for none), and whether it might be a variable instead."""

    value: str
    unit: str = ""
    uncertain: bool = False


def split_unit(text: str) -> Quantity:
    """Return the value and the unit of an answer whose case is not folded: 5 mW is not 5 MW."""
    if match := _CURRENCY.match(text):
        return Quantity(match[1] + text[match.end() :], _key(match[2]))
    if not (tail := _TAIL.search(text)):
        return Quantity(text)
    for start in [tail.start() + match.start() for match in _WORD_START.finditer(tail[0])]:
        value, name = text[:start].rstrip(" *"), text[start:].strip()
        if not value or value[-1] in "^_+-=<>(/,\\" or value.endswith("\\cdot") or _PROSE.search(value):
            continue
        apart = start > 0 and text[start - 1] == " "
        bare = name.replace(TEXT_MARK, "").strip()
        if unit := _unit(bare, apart, TEXT_MARK in name, value):
            return Quantity(value, unit, uncertain=TEXT_MARK not in name and _is_letter(bare))
    return Quantity(text)


def load_units() -> None:
    """Load pint's definitions now: half a second and some memory, which the first response would else count."""
    _registry()


def _unit(name: str, apart: bool, marked: bool, value: str) -> str:
    letter = name.partition("^")[0].strip()
    if _is_letter(name):
        if not (marked and letter in _MARKED_LETTERS or apart and letter in _SINGLE_LETTERS):
            return ""
    elif not (marked or apart or len(letter) > 2 or _BESIDE_A_DIGIT.fullmatch(letter)):
        return ""
    return _key(name) or (_noun(name.casefold(), value) if marked or apart or not name.isascii() else "")


def _is_letter(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z]( ?\^.*)?", name) is not None


def _noun(word: str, value: str) -> str:
    if word and all(char in _MEASURE_WORDS for char in word):
        return word
    singular = word.removesuffix("s")
    if not (_PLURAL.fullmatch(word) or value == "1" and word.isalpha() and word.isascii()):
        return ""
    return "" if _NO_NOUNS.fullmatch(singular) else singular


@lru_cache(maxsize=1)
def _registry():  # type: ignore[no-untyped-def]  # pint's type, which is not imported until an answer has letters
    import pint

    registry = pint.UnitRegistry()
    for definition in _DEFINITIONS.strip().splitlines():
        registry.define(definition.strip())
    return registry


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """Return one text for all spellings of a unit; "" for what is none."""
    for spelled, spelling in _SPELLED.items():
        name = name.replace(spelled, spelling)
    name = re.sub(r" *\^ *", "^", re.sub(r"\\cdot|·", "*", name)).strip(" .").removeprefix("\\")
    name = _CHINESE_POWER.sub(lambda match: match[2] + ("^2" if match[1] == "平方" else "^3"), name)
    name = re.sub(r" squared\b", "^2", re.sub(r" cubed\b", "^3", re.sub(r"[{}]", "", name)))
    if name in ("%", "percent"):
        return "percent"
    return _pint_key(name) or _pint_key(name.lower())


def _pint_key(name: str) -> str:
    """Return factor and base units of what pint makes of a name."""
    registry = _registry()
    words = re.findall(r"[^\W\d]+", name)
    if not words or _NO_UNITS.search(name) or not all(_is_usual(word) for word in words):
        return ""
    try:
        unit = registry.parse_units(name)
        if not registry.Quantity(1, unit)._is_multiplicative:
            return str(unit)  # kelvins and degrees Celsius differ by where they begin
        factor, base = registry.get_base_units(unit)
    except Exception:  # pint raises what its tokenizer and parser do, for any text that is no unit
        return ""
    return " ".join([f"{factor:.10g}", *sorted(f"{name}^{power:g}" for name, power in base._units.items())])


def _is_usual(word: str) -> bool:
    if word in ("per", "square", "cubic", "sq"):
        return True
    readings = _registry().parse_unit_name(word)
    return any(prefix in _PREFIXES for prefix, _, _ in readings)

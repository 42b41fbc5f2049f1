"""Choice reward: which option does the first answer of a response choose?

An option is chosen by its letter ("B", "(b)", "the answer is B"), by its value ("blue", "the answer is blue", "1/2" for
\\frac{1}{2}) or by both ("B. blue", "B. The color is blue"). A letter inside a word or a sentence chooses nothing, nor
do two letters, a letter beside the value of another option, or a negation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from string import ascii_uppercase

from rapidfuzz.distance import Levenshtein

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.data.labels import require_label
from pepo_rlhf.rewards.accuracy import extract_answer, same_answer
from pepo_rlhf.rewards.notation import unwrap

_PHRASE = (
    r"(?:(?:the )?(?:(?:correct|final|right) )?(?:answer|option|choice)(?: is)?:? *(?:option )?|"
    r"(?:正确)?答案[是为]?:? *|选[择项]?:? *)"
)
# A letter and what stands beside it, such as "B. blue", "(b)", "B (blue)", "the answer is B".
_LETTER = re.compile(
    rf"{_PHRASE}?(?:[(\[]([A-Za-z])[)\]][.:,]?|([A-Za-z])[.:,)]|([A-Za-z])(?=[\s(\[]|$))\s*(?:[-–—]\s+)?(.*)",
    re.DOTALL | re.IGNORECASE,
)
_IS_RIGHT = re.compile(r"is (?:the )?(?:correct|right)(?: (?:answer|option|choice|one))?", re.IGNORECASE)
_VALUE = re.compile(rf"{_PHRASE}(.+)", re.DOTALL | re.IGNORECASE)
_VALUE_AND_LETTER = re.compile(r"(.+?)\s*(?:[(\[]([A-Za-z])[)\]]|\s([A-Z]))", re.DOTALL)
_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|wrong|incorrect|false|except|unlike)\b|n['’]t\b", re.IGNORECASE
)
# Only a capital, or "the answer is a square" would choose A.
_SENTENCE = re.compile(
    r"(?<!wrong )(?<!incorrect )(?<!false )(?i:answer|option|choice)(?: is| ?:)? *"
    r"(?:[(\[*${]|\\boxed|\\text)*([A-Z])\b(?!['’])"
)
# Neither the article nor the pronoun at the start of a sentence; in lower case only after "or".
_ANOTHER_LETTER = re.compile(r"\b(?![AI] [a-z])([A-Z])\b(?!['’])|\bor \(?([b-z])\b")
# Letters of either case that are listed: "(b) and (c)", "B, c, d".
_LISTED = re.compile(r"\([a-z]\)|(?:^|[,./;]|\b(?:and|or))\s*\(?[a-z]\)?(?=\s*(?:[,./;)]|$))", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\(([A-Za-z])\)")
_SINGLE_LETTER = re.compile(r"\b([A-Za-z])\b")
_MAX_CHARACTERS = 500
_MAX_ANSWER = 2000  # characters of an answer that is looked at


def choice_reward(response: str, label: str) -> float:
    """Return 1.0 if the first answer of the response chooses the option of the label, else 0.0.

    Raise ValueError for a label that `choice_label` did not make.
    """
    return float(chosen_letter(extract_answer(response) or "", label) == require_label(label, "choice")["choice"])


def choice_label(letter: str, options: Sequence[str] | None, closest: bool = False) -> str:
    """Return the label of a question with options.

    Args:
        letter: of the right option.
        options: their texts in the order of their letters; None where they are known from the question alone.
        closest: an answer that chooses none takes its first letter in brackets, else the option it resembles most, as
            MathVista is scored, or without known options its last single letter, as LogicVista is. Not for training:
            any text would be worth a guess.

    Raises:
        LabelError: for a letter that is none of the options'.
    """
    last = ascii_uppercase[len(options) - 1] if options else "Z"
    if not (len(letter) == 1 and "A" <= letter <= last):
        raise LabelError(f"the answer {letter!r} is no letter from A to {last}; correct the answer or the options")
    fields = {"choice": letter, "options": list(options) if options else None, "closest": closest}
    return json.dumps({key: value for key, value in fields.items() if value}, ensure_ascii=False)


def letter_of(answer: str, options: Sequence[str]) -> str:
    """Return the letter of the option with this text, less the spaces around it; raise LabelError unless one has it."""
    stripped = [option.strip() for option in options]
    letters = [letter for letter, option in zip(ascii_uppercase, stripped, strict=False) if option == answer.strip()]
    if len(letters) != 1:
        raise LabelError(f"the answer {answer!r} is {len(letters)} times among the options {list(options)}; correct it")
    return letters[0]


def chosen_letter(answer: str, label: str) -> str | None:
    """Return the letter of the option that the answer chooses; None if it chooses none or several."""
    fields = require_label(label, "choice")
    options: list[str] = fields.get("options") or []
    answer = " ".join(answer.split())
    if len(answer) > _MAX_ANSWER:
        return None
    answer = unwrap(answer).removesuffix(".").strip()
    letter = _stated_letter(answer, options) or _letter_of_value(answer, options)
    if letter is None and fields.get("closest"):
        return _closest(answer, options)
    return letter


def _stated_letter(answer: str, options: list[str]) -> str | None:
    letters = ascii_uppercase[: len(options)] if options else ascii_uppercase
    if match := _LETTER.fullmatch(answer):
        letter, beside = next(group for group in match.groups()[:3] if group).upper(), match[4].strip()
        if letter in letters and (
            not beside
            or _IS_RIGHT.fullmatch(beside)
            or options
            and _is_beside_its_value(beside, letters.index(letter), options)
            # Of a letter that no sign follows, as in "A square", the value must be known.
            or not options
            and match[3] is None
            and not _NEGATION.search(beside)
            and not _LISTED.search(beside)
            and not _letters_in(beside, letters) - {letter}
        ):
            return letter
    if (match := _SENTENCE.search(answer)) and not _NEGATION.match(
        answer[match.end() :].lstrip(" )]}.,:*$").removeprefix("is ")
    ):
        stated = {*_SENTENCE.findall(answer)} | _letters_in(answer[match.end() :], letters)
        return stated.pop() if len(stated) == 1 and stated <= set(letters) else None
    return None


def _is_beside_its_value(text: str, index: int, options: list[str]) -> bool:
    """Return whether a text is an option, or a sentence that names this one, no other and no negation."""
    bare = text[1:-1] if re.fullmatch(r"\([^()]*\)|\[[^\[\]]*\]", text) else text
    if same_answer(bare, options[index]):
        return True
    named = [_names(text, option) for option in options]
    return named[index] and sum(named) == 1 and not _NEGATION.search(text) and not _letters_in(text, ascii_uppercase)


def _names(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(option.strip())}(?!\w|\.\d)", text, re.IGNORECASE) is not None


def _letters_in(text: str, letters: str) -> set[str]:
    return {(capital or small).upper() for capital, small in _ANOTHER_LETTER.findall(text)} & set(letters)


def _letter_of_value(answer: str, options: list[str]) -> str | None:
    if match := _VALUE_AND_LETTER.fullmatch(answer):
        index = ascii_uppercase.index((match[2] or match[3]).upper())
        if index < len(options):
            return ascii_uppercase[index] if same_answer(match[1], options[index]) else None
    match = _VALUE.fullmatch(answer)
    values = [answer, match[1]] if match else [answer]
    pairs = zip(ascii_uppercase, options, strict=False)
    letters = [letter for letter, option in pairs if any(same_answer(value, option) for value in values)]
    return letters[0] if len(letters) == 1 else None


def _closest(answer: str, options: list[str]) -> str | None:
    if not options:
        letters = _SINGLE_LETTER.findall(answer)
        return letters[-1].upper() if letters else None
    if (match := _IN_BRACKETS.search(answer)) and match[1].upper() in ascii_uppercase[: len(options)]:
        return match[1].upper()
    if not answer or len(answer) > _MAX_CHARACTERS:
        return None
    distances = [Levenshtein.distance(answer, option) for option in options]
    return ascii_uppercase[distances.index(min(distances))]

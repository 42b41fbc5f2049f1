"""Choice reward: which option does the first answer of a response choose?

An option is chosen by its letter ("B", "(b)", "B. blue", "the answer is B") or by its value ("blue", "1/2" for
\\frac{1}{2}). A letter inside a word or a sentence chooses nothing, nor do two letters, nor a letter beside the value
of another option.
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

_PHRASE = r"(?:the )?(?:(?:correct|final|right) )?(?:answer|option|choice)(?: is)?:? *(?:option )?"
_LETTER = re.compile(rf"(?:{_PHRASE})?[(\[]?([a-z])[)\]]?[.:]?", re.IGNORECASE)
_LETTER_AND_VALUE = re.compile(rf"(?:{_PHRASE})?(?:\(([A-Za-z])\)[.:]?|([A-Za-z])[.:)])\s*(.+)", re.DOTALL)
_LETTER_BEFORE_VALUE = re.compile(r"([A-Z])(?:,| [-–—])?\s+(.+)", re.DOTALL)
# Only a capital, or "the answer is a square" would choose A.
_SENTENCE = re.compile(r"(?i:answer|option|choice)(?: is| ?:)? *(?:[(\[*${]|\\boxed|\\text)*([A-Z])\b(?!['’])")
# Neither the article nor the pronoun at the start of a sentence; in lower case only after "or".
_ANOTHER_LETTER = re.compile(r"\b(?![AI] [a-z])([A-Z])\b(?!['’])|\bor \(?([b-z])\b")
_IN_BRACKETS = re.compile(r"\(([A-Za-z])\)")
_SINGLE_LETTER = re.compile(r"\b([A-Za-z])\b")
_MAX_CHARACTERS = 500


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
    answer = unwrap(answer)
    letter = _stated_letter(answer, options) or _letter_of_value(answer, options)
    if letter is None and fields.get("closest"):
        return _closest(answer, options)
    return letter


def _stated_letter(answer: str, options: list[str]) -> str | None:
    letters = ascii_uppercase[: len(options)] if options else ascii_uppercase
    if match := _LETTER.fullmatch(answer):
        stated = {match.group(1).upper()}
    elif match := _LETTER_AND_VALUE.fullmatch(answer):
        letter, value = (match.group(1) or match.group(2)).upper(), match.group(3).strip()
        if options:
            return letter if letter in letters and same_answer(value, options[letters.index(letter)]) else None
        stated = {letter} | _letters_in(value, letters)
    elif match := _SENTENCE.search(answer):
        stated = {*_SENTENCE.findall(answer)} | _letters_in(answer[match.end() :], letters)
    else:
        return None
    return stated.pop() if len(stated) == 1 and stated <= set(letters) else None


def _letters_in(text: str, letters: str) -> set[str]:
    return {(capital or small).upper() for capital, small in _ANOTHER_LETTER.findall(text)} & set(letters)


def _letter_of_value(answer: str, options: list[str]) -> str | None:
    letters = [
        letter
        for letter, option in zip(ascii_uppercase, options, strict=False)
        if any(same_answer(value, option) for value in _values_beside(letter, answer))
    ]
    return letters[0] if len(letters) == 1 else None


def _values_beside(letter: str, answer: str) -> set[str]:
    """Return the answer, and the answer without this letter at its start or end."""
    match = _LETTER_BEFORE_VALUE.fullmatch(answer)
    before = {match.group(2)} if match and match.group(1) == letter else set()
    return {answer, answer.removesuffix(f"({letter})")} | before


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

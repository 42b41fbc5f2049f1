"""Environment variables that hold secrets, whose values must not be written down."""

from __future__ import annotations

import os
import re

# Ends of a name's parts, as DB_PASS and HFTOKEN2 have them, and TOKENIZERS_PARALLELISM and MAX_TOKENS do not; whole
# parts where a word ends so that is no secret, such as MONKEY and BYPASS.
_SECRET = re.compile(
    r"(?:(?<![^_])(?:API|AUTH|PG)?(?:KEY|PASS|PWD)|APIKEY|TOKEN|SECRETS?|PASS(?:WORD|WD|PHRASE)|CREDENTIALS?)\d*(?![^_])",
    re.IGNORECASE,
)
_SHORTEST = 8  # characters; API_KEY=none would blot out every "none" of a text


def looks_secret(name: str) -> bool:
    """Whether a variable of this name is taken for a secret."""
    return name != "PWD" and _SECRET.search(name) is not None  # PWD is the shell's working directory


def redact(text: str) -> str:
    """The text with *** for each value of a variable of this process that looks like a secret."""
    values = [value for name, value in os.environ.items() if looks_secret(name) and len(value) >= _SHORTEST]
    for value in sorted(values, key=len, reverse=True):  # one may be part of another
        text = text.replace(value, "***")
    return text

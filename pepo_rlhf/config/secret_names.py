"""Environment variables that hold secrets, whose values must not be written down."""

from __future__ import annotations

import os
import re

# Whole parts of a name, such as DB_PASS and PGPASSWORD have; TOKENIZERS_PARALLELISM and MAX_TOKENS have none.
_SECRET = re.compile(
    r"(?<![^_])(?:API|AUTH|PG)?(?:TOKEN|KEY|SECRETS?|PASS(?:WORD|WD|PHRASE)?|PWD|CREDENTIALS?)(?![^_])", re.IGNORECASE
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

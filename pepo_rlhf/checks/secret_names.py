"""Names of environment variables that hold secrets."""

from __future__ import annotations

import re

# Whole parts of a name, such as DB_PASS and PGPASSWORD have; TOKENIZERS_PARALLELISM and MAX_TOKENS have none.
_SECRET = re.compile(
    r"(?<![^_])(?:API|AUTH|PG)?(?:TOKEN|KEY|SECRETS?|PASS(?:WORD|WD|PHRASE)?|PWD|CREDENTIALS?)(?![^_])", re.IGNORECASE
)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name is taken for a secret, whose value must not be written down."""
    return _SECRET.search(name) is not None

"""python -m benchmarks.peer_suite CHECKOUT: verdicts of `accuracy` on the pairs of Math-Verify's tests.

CHECKOUT is a folder of https://github.com/huggingface/Math-Verify. Its tests are read, not run. Pairs with prose around
an answer are left out: an answer in tags has none. A refusal is printed with the first of REASONS that fits.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pepo_rlhf.rewards.accuracy import same_answer

_COMMANDS = re.compile(r"\\[a-zA-Z]+|\{[a-z]*matrix\}")
_PROSE = re.compile(r"[a-zA-Z]{4,}|\b(?:is|it|the|not|so)\b", re.IGNORECASE)
_EXPECTED = ("expected", "result")
# Found in "response | label".
REASONS = {
    r"1 \+ \\frac.*1 - ": "the two differ; that suite takes it for right",
    r"\d,\d+\W*\|.*\d\.\d|\d\.\d+\W*\|.*\d,\d": "a decimal comma, which is a list here",
    r"\\boxed.*\\boxed|\+\+\+": "several boxes, or prose, in a label",
    r"\\\\text|\\n": "escapes written twice in a label",
    r"\\sum": "a sum over an index",
    r"=.*\\approx": "an approximation that is none",
    r"=.*=.*\||\|.*=.*=": "an equation one of whose sides is not known to be the answer",
    r"\d\.\d{1,4}\b.*\|.*frac": "a rounded number for an exact one",
    r"\|z\|": "an inequality of absolute values",
    r"\), ?\(": "a member of a set that is written twice",
}


class Pair(NamedTuple):
    label: str
    response: str
    right: bool


def read_pairs(checkout: Path) -> Iterator[Pair]:
    """Yield the pairs of every parametrized test that has a label, a response and a verdict."""
    for file in sorted((checkout / "tests").glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("parametrize"):
                names = [name.strip() for name in ast.literal_eval(call.args[0]).split(",")]
                verdict = next((names.index(name) for name in _EXPECTED if name in names), None)
                if names[:2] == ["gold", "pred"] and verdict is not None:
                    for row in call.args[1].elts:  # type: ignore[attr-defined]
                        if not any(isinstance(node, ast.JoinedStr) for node in ast.walk(row)):
                            values = ast.literal_eval(row)
                            yield Pair(*values[:2], bool(values[verdict]))


def reason(pair: Pair) -> str:
    text = f"{pair.response} | {pair.label}"
    return next((reason for pattern, reason in REASONS.items() if re.search(pattern, text)), "no reason is known")


def has_prose(text: str) -> bool:
    return _PROSE.search(_COMMANDS.sub(" ", text)) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    pairs = dict.fromkeys(read_pairs(parser.parse_args().checkout))
    # The verdict of some depends on an option of Math-Verify's.
    pairs = [pair for pair in pairs if pair._replace(right=not pair.right) not in pairs]
    bare = [pair for pair in pairs if not has_prose(pair.label + " " + pair.response)]
    verdicts = {pair: same_answer(pair.response, pair.label) for pair in bare}
    agreed = sum(verdict == pair.right for pair, verdict in verdicts.items())
    for pair, verdict in verdicts.items():
        if verdict != pair.right:
            print(f"{'rewarded' if verdict else 'refused'}: {pair.response!r} for {pair.label!r}: {reason(pair)}")
    print(f"{len(pairs)} pairs, {len(bare)} without prose; the verdicts agree on {agreed} ({agreed / len(bare):.0%})")


if __name__ == "__main__":
    main()

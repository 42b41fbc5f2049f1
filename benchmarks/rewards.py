"""Grading: time and verdicts of `accuracy`, of plain math-verify and, if it is installed, of mathruler.

python -m benchmarks rewards                                  time per table of pairs, beside math-verify's
python -m benchmarks.rewards [--before REVISION] [--answers FILE]
    verdicts on tests/rewards/pairs.csv; time beside an earlier commit's; agreement on labels, one a line
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import importlib
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import compare, row

ROOT = Path(__file__).parents[1]
PAIRS = ROOT / "tests" / "rewards" / "pairs.csv"
Grader = Callable[[str, str], bool]


def graders() -> dict[str, Grader]:
    """Return functions of response and label, by name; mathruler's only where it is installed."""
    from math_verify import parse, verify

    from pepo_rlhf.rewards.accuracy import same_answer

    logging.getLogger("math_verify").setLevel(logging.ERROR)

    def plain(response: str, label: str) -> bool:
        gold, answer = (parse(f"${text}$", parsing_timeout=None) for text in (label, response))
        return verify(gold, answer, timeout_seconds=None)

    found: dict[str, Grader] = {"math-verify": plain, "ours": same_answer}
    with contextlib.suppress(ImportError):
        found["mathruler"] = importlib.import_module("mathruler.grader").grade_answer
    return found


def read_pairs() -> list[tuple[str, str, bool]]:
    with open(PAIRS, encoding="utf-8", newline="") as file:
        return [(entry["response"], entry["label"], entry["verdict"] == "right") for entry in csv.DictReader(file)]


def run(rounds: int) -> list[dict]:
    """Time the table of pairs, with caches of answers emptied before each round."""
    pairs = read_pairs()
    variants = {name: functools.partial(_grade_all, grade, pairs) for name, grade in graders().items()}
    return compare(f"rewards, {len(pairs)} pairs", variants, rounds)


def _grade_all(grade: Grader, pairs: list[tuple]) -> None:
    _empty_caches()
    for response, label, *_ in pairs:
        grade(response, label)


def _empty_caches() -> None:
    for module in [module for name, module in sys.modules.items() if name.startswith(("pepo_rlhf.rewards", "math_"))]:
        for value in vars(module).values():
            if isinstance(value, functools._lru_cache_wrapper) and value.cache_parameters()["maxsize"] != 1:
                value.cache_clear()


def print_verdicts() -> None:
    """Print how many of the pairs each grader judges as the table does, and rewards that it should not give."""
    pairs = read_pairs()
    for name, grade in graders().items():
        verdicts = [(bool(grade(response, label)), right) for response, label, right in pairs]
        agreed, rewarded = sum(a == b for a, b in verdicts), sum(a and not b for a, b in verdicts)
        missed = len(pairs) - agreed - rewarded
        print(f"{name:12} {agreed} of {len(pairs)} as judged; {rewarded} false rewards, {missed} missed")


def print_agreement(file: Path) -> None:
    """Print on how many labels two graders agree: each against its plain forms, and against the next label."""
    labels = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    pairs = [
        (form, label) for label in labels for form in (label.replace(" ", ""), f"${label}$", rf"\boxed{{{label}}}")
    ]
    pairs += list(itertools.pairwise(labels))
    verdicts = {name: [bool(grade(*pair)) for pair in pairs] for name, grade in graders().items()}
    print(f"{len(labels)} labels, {len(pairs)} pairs")
    for name, given in verdicts.items():
        print(
            f"{name:12} right: {sum(given[: 3 * len(labels)])} of {3 * len(labels)} forms of the label, "
            f"{sum(given[3 * len(labels) :])} of {len(labels) - 1} next labels"
        )
    for (name, given), (other, others) in itertools.combinations(verdicts.items(), 2):
        print(f"{name} and {other} agree on {sum(map(bool.__eq__, given, others))}")
        for pair, one, two in zip(pairs, given, others, strict=True):
            if one != two:
                print(f"  {pair[0]!r} for {pair[1]!r}: {name} {one}, {other} {two}", file=sys.stderr)


def print_time_before(revision: str, rounds: int) -> None:
    """Print the time of the pairs with this code and that of an earlier commit, in processes that take turns."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision, "pepo_rlhf"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        seconds = {revision: [], "now": []}  # type: dict[str, list[float]]
        for _ in range(rounds):
            for name, path in ((revision, folder), ("now", str(ROOT))):
                command = [sys.executable, "-m", "benchmarks.rewards", "--worker"]
                environment = os.environ | {"PYTHONPATH": os.pathsep.join([path, str(ROOT)])}
                output = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True).stdout
                seconds[name].append(json.loads(output.splitlines()[-1]))
    for name, times in seconds.items():
        entry = row("rewards", name, times, seconds[revision])
        print(f"{name:12} {entry['seconds']:.4g} s, ratio {entry['ratio']:.3f} {entry['ratio_quartiles']}")


def _time_in_this_process() -> None:
    from pepo_rlhf.rewards.accuracy import same_answer

    pairs = read_pairs()
    _grade_all(same_answer, pairs)  # fills the parser's tables
    start = time.perf_counter()
    _grade_all(same_answer, pairs)
    print(json.dumps(time.perf_counter() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="REVISION")
    parser.add_argument("--answers", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return _time_in_this_process()
    print_verdicts()
    if arguments.answers:
        print_agreement(arguments.answers)
    if arguments.before:
        print_time_before(arguments.before, arguments.rounds)


if __name__ == "__main__":
    main()

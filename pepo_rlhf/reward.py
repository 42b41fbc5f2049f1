"""python -m pepo_rlhf.reward --file FILE [--functions NAME ...] [--output FILE]: verifiers on stored completions.

FILE has a JSON object a line, with "response" and "label" (or "answer"). The means that are printed are over the
responses that could be graded; the others are listed, and make the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.rewards import Grade, RewardError, RewardService


def main() -> int:
    defaults, formatter = Reward(), argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m pepo_rlhf.reward", formatter_class=formatter)
    parser.add_argument("--file", type=Path, required=True, help="JSONL of responses and labels")
    parser.add_argument("--output", type=Path, help="JSONL to write: each row with its components and error")
    parser.add_argument("--functions", nargs="+", default=defaults.functions, help="as --reward.functions of a run")
    parser.add_argument("--num_processes", type=int, default=defaults.num_processes, help="processes of the verifiers")
    parser.add_argument("--timeout_seconds", type=float, default=defaults.timeout_seconds, help="for one response")
    parser.add_argument("--memory_mb", type=int, default=defaults.memory_mb, help="MiB, for each process")
    args = parser.parse_args()
    try:
        rows = read_completions(args.file)
        grades = grade_rows(
            rows,
            RewardService(
                args.functions,
                weights={},
                num_processes=args.num_processes,
                timeout_seconds=args.timeout_seconds,
                memory_mb=args.memory_mb,
            ),
        )
    except (OSError, ValueError, RewardError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(grades))
    if args.output:
        with args.output.open("w", encoding="utf-8") as file:
            for row, grade in zip(rows, grades, strict=True):
                file.write(json.dumps({**row, "components": grade.components, "error": grade.error}) + "\n")
    return int(any(grade.error is not None for grade in grades))


def read_completions(path: Path) -> list[dict]:
    """Rows of the file, each with the texts "response" and "label".

    Raises:
        ValueError: for the first row without them, by its line number, and for a file without rows.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        ...
    return rows

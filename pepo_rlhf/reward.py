"""python -m pepo_rlhf.reward --file FILE [--functions NAME ...] [--output FILE]: verifiers on stored completions.

FILE has a JSON object a line, with "response" and "label" (or "answer"). The means that are printed are over the
responses that could be graded; the others are listed, and make the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.config.ranges import ABOVE_0, AT_LEAST_1, argument, values_in_range
from pepo_rlhf.rewards import Grade, RewardService


def main() -> int:
    args = _parse_arguments()
    try:
        rows = read_completions(args.file)
        grades = _grade(rows, args)
        print(report(grades))
        if args.output:
            _write(args.output, rows, grades)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(any(grade.error is not None for grade in grades))


def _parse_arguments() -> argparse.Namespace:
    defaults = Reward()
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.reward", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--file", type=Path, required=True, help="JSONL of responses and labels")
    parser.add_argument("--output", type=Path, help="JSONL to write: the rows, each with its components and error")
    parser.add_argument("--functions", nargs="+", default=defaults.functions, help="as --reward.functions of a run")
    parser.add_argument(
        "--num_processes", type=argument(int, AT_LEAST_1), default=defaults.num_processes, help="that run the verifiers"
    )
    parser.add_argument(
        "--timeout_seconds", type=argument(float, ABOVE_0), default=defaults.timeout_seconds, help="of one response"
    )
    parser.add_argument(
        "--memory_mb", type=argument(int, AT_LEAST_1), default=defaults.memory_mb, help="MiB of each process"
    )
    parser.add_argument("--allow_network", action="store_true", help="let the verifiers use the network")
    return parser.parse_args()


def read_completions(path: Path) -> list[dict]:
    """Return the rows of the file, each with the texts "response" and "label" among its keys.

    Raises:
        ValueError: for a file without rows, and for the first row without those texts, by its line number.
    """
    with path.open(encoding="utf-8") as file:
        rows = [_read_row(line, f"{path} row {number}") for number, line in enumerate(file, start=1)]
    if not rows:
        raise ValueError(f"{path} is empty")
    return rows


def _read_row(line: str, source: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not JSON: {error}") from error
    match row:
        case {"response": str(), "label": str() | int() | float() as label}:
            return {**row, "label": str(label)}
        case {"response": str(), "answer": str() | int() | float() as label}:
            return {**row, "label": str(label)}
    raise ValueError(f'{source}: write {{"response": text, "label": text}}; "answer" will do for "label"')


def _grade(rows: list[dict], args: argparse.Namespace) -> list[Grade]:
    settings = {name: value for name, value in vars(args).items() if name not in ("file", "output")}
    if problem := values_in_range(Reward(**settings)):
        raise ValueError(problem)
    with closing(RewardService(Reward(**settings))) as service:
        futures = [service.submit(row["response"], row["label"]) for row in rows]
        return [future.result() for future in futures]


def report(grades: Sequence[Grade]) -> str:
    """Return the mean of each component over the graded responses, and a line for each of the others."""
    graded = [grade.components for grade in grades if grade.error is None]
    lines = [f"{len(graded)} of {len(grades)} responses graded"]
    for name in grades[0].components if graded else ():
        lines.append(f"{name:<20} {sum(components[name] for components in graded) / len(graded):.4f}")
    for row, grade in enumerate(grades, start=1):
        if grade.error is not None:
            lines.append(f"row {row}: {grade.headline}")
    return "\n".join(lines)


def _write(path: Path, rows: list[dict], grades: list[Grade]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row, grade in zip(rows, grades, strict=True):
            file.write(json.dumps({**row, "components": grade.components, "error": grade.error}) + "\n")


if __name__ == "__main__":
    sys.exit(main())

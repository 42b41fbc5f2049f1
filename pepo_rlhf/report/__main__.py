"""python -m pepo_rlhf.report RUN_DIR, or --compare RUN_A RUN_B: write a run, or two, as one HTML file.

The file needs neither a network nor a server. Token by token it shows what --logger.tokens_every recorded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pepo_rlhf.report.page import render
from pepo_rlhf.report.runs import differing_settings, read_run, score_differences
from pepo_rlhf.report.tokens import TokenPages, read_tokens


def main() -> int:
    arguments = _parse_arguments()
    try:
        if arguments.compare:
            page, summary = comparison(*arguments.compare)
            output = arguments.output or arguments.compare[0] / "comparison.html"
        else:
            page, summary = report(arguments.run_dir)
            output = arguments.output or arguments.run_dir / "report.html"
        output.write_text(page, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{output}: {summary}, {len(page.encode()) / 1e6:.1f} MB")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("run_dir", type=Path, nargs="?", help="folder of a run")
    which.add_argument(
        "--compare", type=Path, nargs=2, metavar=("RUN_A", "RUN_B"), help="folders of two runs, to lay over each other"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="RUN_DIR/report.html or RUN_A/comparison.html by default"
    )
    return parser.parse_args()


def report(run_dir: Path) -> tuple[str, str]:
    """Return the page of a run, and a line on what is in it.

    Raises:
        ValueError: if the folder holds no metrics, or token records of another version.
    """
    run = read_run(run_dir)
    tokens = read_tokens(run_dir)
    if tokens.groups:
        summary = f"{len(run['steps'])} steps, {len(tokens.groups)} prompts with {tokens.num_responses} responses"
    else:
        summary = f"{len(run['steps'])} steps, no token records (--logger.tokens_every 10 records some)"
    return render(run["name"], {"runs": [run]}, tokens), summary


def comparison(run_dir_a: Path, run_dir_b: Path) -> tuple[str, str]:
    """Return the page of two runs, and a line on what is in it.

    Raises:
        ValueError: if a folder holds no metrics.
    """
    a, b = read_run(run_dir_a), read_run(run_dir_b)
    overview = {
        "runs": [a, b],
        "settings": differing_settings(a["settings"], b["settings"]),
        "differences": score_differences(a["evaluations"], b["evaluations"], a["verifier"]),
    }
    title = f"{a['name']} and {b['name']}"
    apart = "" if overview["differences"] else ", no evaluation after the same step"
    return render(title, overview, TokenPages()), f"{len(a['steps'])} and {len(b['steps'])} steps{apart}"


if __name__ == "__main__":
    sys.exit(main())

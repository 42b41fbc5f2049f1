"""python -m pepo_rlhf.reweight RUN_DIR [--method M ...] [--alpha A ...] [--temperature T ...] [--output DIR]

Token weights of a run for other settings, from its token records and without a model. Several values of a flag make a
sweep over all combinations; a flag that is left out has the run's own value. docs/token_records.md explains the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pepo_rlhf.core import TOKEN_WEIGHTINGS
from pepo_rlhf.report.reweight import load_batches, notes, sweep, write


def main() -> int:
    args = _parse_arguments()
    folder = args.output or args.run_dir / "reweight"
    try:
        batches = load_batches(args.run_dir)
        table = sweep(batches, method=args.method, alpha=args.alpha, temperature=args.temperature)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    remarks = notes(batches, table)
    write(table, remarks, folder)
    print(table.to_string(index=False, float_format="{:.4g}".format))
    for remark in remarks:
        print(f"note: {remark}")
    print(f"{len(batches)} recorded steps; table and plot in {folder}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.reweight", description="Token weights of a run for other settings, from its records."
    )
    parser.add_argument("run_dir", type=Path, help="folder of the run, with token records in it")
    parser.add_argument("--method", nargs="+", choices=sorted(TOKEN_WEIGHTINGS), help="as --pepo.method of a run")
    parser.add_argument("--alpha", nargs="+", type=float, help="as --pepo.alpha")
    parser.add_argument("--temperature", nargs="+", type=float, help="as --pepo.temperature")
    parser.add_argument("--output", type=Path, help="folder for reweight.csv, .json and .png; RUN_DIR/reweight if none")
    args = parser.parse_args()
    if args.alpha and min(args.alpha) < 0:
        parser.error("--alpha must be at least 0")
    return args


if __name__ == "__main__":
    sys.exit(main())

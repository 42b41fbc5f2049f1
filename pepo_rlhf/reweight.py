"""python -m pepo_rlhf.reweight RUN_DIR [--method M ...] [--settings.KEY VALUE ...] [--output DIR]

Compute token weights of a run for other settings, from its token records and without a model. Several values of a flag
make a sweep over all combinations; a setting that is left out has the run's own value. --alpha and --temperature are
short for --settings.alpha and --settings.temperature. docs/token_records.md explains the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pepo_rlhf.report.reweight import load_batches, notes, sweep, write

_PREFIX = "settings."


def main() -> int:
    arguments = _parse_arguments()
    folder = arguments.output or arguments.run_dir / "reweight"
    settings = {
        name.removeprefix(_PREFIX): values
        for name, values in vars(arguments).items()
        if name.startswith(_PREFIX) and values is not None
    }
    try:
        batches = load_batches(arguments.run_dir)
        table = sweep(batches, arguments.method, settings)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    remarks = notes(batches, table)
    write(table, remarks, folder)
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    for remark in remarks:
        print(f"note: {remark}")
    print(f"{len(batches)} recorded steps; table and plot in {folder}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.reweight", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", type=Path, help="folder of the run, with token records in it")
    parser.add_argument("--method", nargs="+", metavar="METHOD", help="as --pepo.method of a run")
    for name in ("alpha", "temperature"):
        parser.add_argument(
            f"--{name}", nargs="+", type=_value, metavar="VALUE", dest=_PREFIX + name, help=f"as --settings.{name}"
        )
    # Weightings have settings of their own: any name is taken here, and `sweep` tells an unknown one.
    for flag in {word.partition("=")[0] for word in sys.argv[1:] if word.startswith(f"--{_PREFIX}")}:
        parser.add_argument(flag, nargs="+", type=_value, metavar="VALUE", help=f"as --pepo.{flag[2:]}")
    parser.add_argument("--output", type=Path, help="folder for reweight.csv, .json and .png; RUN_DIR/reweight if none")
    return parser.parse_args()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())

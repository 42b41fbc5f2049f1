"""python -m benchmarks [NAME ...] [--rounds N] [--json FILE]: every measurement, or those named, as one table.

Each benchmark has a process of its own: memory is measured in forks of it, which threads that an earlier one's compiler
or backward pass has started would not survive.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
from concurrent.futures import ProcessPoolExecutor

from pepo_rlhf import compat

compat.install()

import torch  # noqa: E402  (prepared first)

from benchmarks.measure import run_benchmark  # noqa: E402

# Loaded when they run: similarity needs torch alone, the others the whole stack.
BENCHMARKS = {
    "similarity": "similarity:run",
    "weights": "weights:run",
    "precision": "precision:run",
    "head": "head:run",
    "forward": "forward:run",
    "signals": "signals:run",
    "attention": "attention:run",
    "image_memory": "image_memory:run",
    "weight_sync": "weight_sync:run",
    "rewards": "rewards:run",
    "step": "step:run",
    "step_152k": "step:run_large_vocabulary",
    "step_skipping": "step:run_skipping",
    "step_single_pass": "step:run_single_pass",
    "peers": "peers:run",
}


def print_table(rows: list[dict]) -> None:
    """Rows under their benchmark's name; a column that a row has no number for stays empty."""
    columns = {"seconds": "{:.4g} s", "ratio": "{:.3f}x"}
    columns |= {"peak_mib": "{:.0f} MiB", "memory_ratio": "{:.3f}x", "bytes": "{:,} bytes"}
    columns |= {"gpu_seconds": "{:.4g} s of kernels"}
    columns |= {"values": "{} values", "mean": "mean {:.4f}", "error": "rms error {:.1e}"}
    for title in dict.fromkeys(row["benchmark"] for row in rows):
        print(f"\n{title}", flush=True)
        for row in (row for row in rows if row["benchmark"] == title):
            cells = [form.format(row[name]) if name in row else "" for name, form in columns.items()]
            spread = "[{:.3f}, {:.3f}]".format(*row["ratio_quartiles"]) if "ratio_quartiles" in row else ""
            print(
                f"  {row['variant']:44}" + "".join(f" {cell:>11}" for cell in [*cells[:2], spread, *cells[2:]]),
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all without any")
    parser.add_argument("--rounds", type=int, default=5, help="paired rounds of times; memory is measured once")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write rows there too; without, print them as JSON"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"
    rows = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for name in arguments.names or BENCHMARKS:
            measured = pool.submit(run_benchmark, BENCHMARKS[name], arguments.rounds).result()
            rows += measured
            if arguments.json != "-":
                print_table(measured)
    report = {"machine": machine, "python": platform.python_version(), "torch": torch.__version__, "rows": rows}
    if arguments.json == "-":
        print(json.dumps(report, indent=1))
    elif arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()

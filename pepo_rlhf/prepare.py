"""python -m pepo_rlhf.prepare TASK [--source ...] --output DIR: a data set as parquet to train on, and a report on it.

Writes DIR/<split>.parquet, with images embedded, and DIR/report.html, and prints the report. Nothing is dropped without
a count. A split without a row left is an error.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from pepo_rlhf import compat
from pepo_rlhf.config.ranges import AT_LEAST_1, SEED, argument
from pepo_rlhf.data.prompt_measure import load_measure
from pepo_rlhf.tasks import all_tasks, find_task, read_problems
from pepo_rlhf.tasks.frame import frame_of
from pepo_rlhf.tasks.parquet import ParquetRows
from pepo_rlhf.tasks.reading import image_root_of
from pepo_rlhf.tasks.report import SplitReport, as_text, examine
from pepo_rlhf.tasks.report_page import render


def main() -> int:
    args = _parse_arguments()
    compat.install()
    try:
        reports, limit = prepare(args)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(as_text(args.task, reports, limit))
    print(f"wrote {', '.join(f'{report.split}.parquet' for report in reports)} and report.html to {args.output}")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.prepare", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("task", help=f"one of {', '.join(all_tasks())}, or path/to/folder:Task")
    parser.add_argument("--source", nargs="+", help="file, folder or hub id; the task's own by default; one a split")
    parser.add_argument("--split", nargs="+", default=["train"], help="splits to prepare")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--model", help="model whose processor counts tokens and resizes images: folder or hub id")
    parser.add_argument("--max_len", type=argument(int, AT_LEAST_1), default=2048, help="as --data.max_len of the run")
    parser.add_argument(
        "--max_new_tokens", type=argument(int, AT_LEAST_1), default=1024, help="as --rollout.max_new_tokens of the run"
    )
    parser.add_argument("--min_pixels", type=argument(int, AT_LEAST_1), help="as --data.min_pixels of the run")
    parser.add_argument("--max_pixels", type=argument(int, AT_LEAST_1), help="as --data.max_pixels of the run")
    parser.add_argument("--frame", choices=["pixels", "thousandths"], default="pixels", help="of boxes in rows")
    parser.add_argument(
        "--boxes", choices=["pixels", "unit", "thousandths"], default="pixels", help="of the source: units of its boxes"
    )
    parser.add_argument(
        "--box_frame", choices=["stored", "upright"], default="stored", help="of the source: the photo its boxes lie in"
    )
    parser.add_argument("--image_root", help="folder that image files must lie in; the source's own by default")
    parser.add_argument("--shots", type=argument(int, AT_LEAST_1), help="rows of each label to draw; all by default")
    parser.add_argument("--seed", type=argument(int, SEED), default=0, help="of the draw")
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> tuple[list[SplitReport], int | None]:
    """Examine and write each split. Return the reports and the longest prompt that fits, None without a model.

    Raises:
        ValueError: for an unknown task, a source that cannot be read, or a split without a row to train on.
    """
    task = find_task(args.task)
    sources = args.source or [None]
    if len(sources) == 1:
        sources = sources * len(args.split)
    if len(sources) != len(args.split):
        raise ValueError(f"{len(sources)} sources for {len(args.split)} splits; name one --source, or one a split")
    limit = args.max_len - args.max_new_tokens if args.model else None
    measure = load_measure(args.model, limit, args.min_pixels, args.max_pixels) if limit is not None else None
    frame = replace(frame_of(args.frame, measure), boxes=args.boxes, box_frame=args.box_frame)
    args.output.mkdir(parents=True, exist_ok=True)
    reports = []
    for source, split in zip(sources, args.split, strict=True):
        problems = read_problems(task, source, split, frame, args.shots, args.seed)
        with ParquetRows(args.output / f"{split}.parquet", task.name) as rows:
            image_root = args.image_root or image_root_of(task, source)
            reports.append(examine(split, problems, measure, image_root, rows.append))
            if not reports[-1].num_rows:
                raise ValueError(
                    f"no row of the split {split!r} can be trained on\n{as_text(task.name, reports, limit)}"
                )
    (args.output / "report.html").write_text(render(task.name, reports, limit), encoding="utf-8")
    return reports, limit


if __name__ == "__main__":
    sys.exit(main())

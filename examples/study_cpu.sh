#!/usr/bin/env bash
# [RESULTS=FOLDER] bash examples/study_cpu.sh [--methods NAME ...] [--seeds N ...]
# Five methods x five seeds of counting and of grounding, each from its own warm start, on a CPU: about four
# minutes a run. One that has a file in RESULTS (docs/results) is not made again, so that the study can be stopped and
# started; to make runs of ours again, name another folder: RESULTS=runs/results bash examples/study_cpu.sh --seeds 1
set -euo pipefail
cd "$(dirname "$0")/.."
results=${RESULTS:-docs/results}
unset PYTHONDONTWRITEBYTECODE # as in quickstart.sh
bash requirements/install.sh
for task in counting grounding; do
  bash examples/warm_start.sh "$task"
  .venv/bin/python -W ignore -m benchmarks.study --task "$task" --results "$results" "$@"
done
.venv/bin/python -W ignore -m benchmarks.study_table "$results"

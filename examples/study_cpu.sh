#!/usr/bin/env bash
# [RESULTS=FOLDER] bash examples/study_cpu.sh [--methods NAME ...] [--seeds N ...]
# Trains five methods with five seeds on counting and on grounding, on a CPU. All runs of a task start from one warm start.
# A run takes about four minutes. A run that has a file in RESULTS (docs/results) is not made again, so the study can be
# interrupted. To repeat published runs, name another folder: RESULTS=runs/results bash examples/study_cpu.sh --seeds 1
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

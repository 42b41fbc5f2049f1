#!/usr/bin/env bash
# bash examples/study_cpu.sh [--methods NAME ...] [--seeds N ...]
# Five methods x five seeds of counting, from the quick start's warm start, on a CPU: 4 minutes a run. A run that has a file
# in docs/results is not made again, so that the study can be stopped and started at will.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # as in quickstart.sh
bash requirements/install.sh
bash examples/warm_start.sh
.venv/bin/python -W ignore -m benchmarks.study --model runs/warm_start --data runs/counting "$@"
.venv/bin/python -W ignore -m benchmarks.study_table

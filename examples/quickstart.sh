#!/usr/bin/env bash
# bash examples/quickstart.sh [--section.key value ...]
# Installs into .venv and trains a tiny VLM with PEPO on the CPU, with real Ray actors, vLLM and DeepSpeed.
# It needs Python 3.11 (or uv, which brings it), g++, 8 GB of memory and 6 GB of disk. Linux only.
# SEED=2 bash examples/quickstart.sh trains with another seed. Extra flags go to pepo_rlhf.train.
set -euo pipefail
cd "$(dirname "$0")/.."
# If this is set, every process of a run compiles vLLM, transformers and Ray again, which takes a minute per start.
unset PYTHONDONTWRITEBYTECODE
seed=${SEED:-1}
run_dir=runs/quickstart_seed${seed}_$(date +%Y%m%d_%H%M%S)

echo "== 1 of 4: installing; this needs Python 3.11 (or uv), g++, 8 GB of memory and 6 GB of disk"
memory=$(awk '/^MemTotal/ { print int($2 / 1000000) }' /proc/meminfo)
if [ "$memory" -lt 7 ]; then
  echo "This machine has $memory GB of memory." >&2
  exit 1
fi
bash requirements/install.sh
echo "== 2 of 4: the tiny VLM learns to count, and then loses its confidence (3 to 4 minutes, once)"
bash examples/warm_start.sh
echo "== 3 of 4: PEPO, 48 steps; Ray, vLLM and DeepSpeed start first (1 to 3 minutes), then one line per step"
.venv/bin/python -W ignore -m pepo_rlhf.train --config examples/quickstart.yaml \
  --actor.model_name_or_path runs/warm_start_counting --data.prompt_dataset runs/counting/train.jsonl \
  --eval.dataset runs/counting/test.jsonl --train.seed "$seed" --run.dir "$run_dir" "$@"
echo "== 4 of 4: the result"
.venv/bin/python -W ignore -m pepo_rlhf.report.summary "$run_dir"

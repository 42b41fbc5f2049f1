#!/usr/bin/env bash
# bash examples/geometry3k_cpu.sh DATA_DIR [--section.key value ...]
# Trains a tiny random Qwen2.5-VL for four steps on a folder of Geometry3K problems, on the CPU.
set -euo pipefail
if [ $# -lt 1 ]; then
  echo "usage: bash examples/geometry3k_cpu.sh DATA_DIR [--section.key value ...]" >&2
  exit 2
fi
data=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
bash requirements/install.sh
model=runs/tiny_qwen2_5_vl
if [ ! -f "$model/config.json" ]; then
  .venv/bin/python -m pepo_rlhf.toy.tiny_vlm --output "$model"
fi
.venv/bin/python -m pepo_rlhf.train --config examples/geometry3k_cpu.yaml \
  --actor.model_name_or_path "$model" --data.prompt_dataset "$data" \
  --run.dir "runs/geometry3k_cpu_$(date +%Y%m%d_%H%M%S)" "$@"

#!/usr/bin/env bash
# A tiny VLM that has learnt to count, and lost its confidence, in runs/warm_start (3 to 4 minutes, once), and rows to count
# in runs/counting. For quickstart.sh and study_cpu.sh, after requirements/install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -f runs/warm_start/model.safetensors ]; then
  rm -rf runs/warm_start.part
  .venv/bin/python -W ignore -m pepo_rlhf.sandbox.warm_start --output runs/warm_start.part
  mv runs/warm_start.part runs/warm_start
fi
[ -f runs/counting/test.jsonl ] || .venv/bin/python -W ignore -m pepo_rlhf.sandbox.counting --output runs/counting

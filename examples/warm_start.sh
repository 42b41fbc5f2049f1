#!/usr/bin/env bash
# bash examples/warm_start.sh [counting|grounding]
# Writes a tiny VLM that has learnt a task and then lost its confidence to runs/warm_start_TASK, and rows of the task to
# runs/TASK. This takes 3 to 6 minutes for counting and twice as long for grounding, once. quickstart.sh and study_cpu.sh
# call it after requirements/install.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
task=${1:-counting}
# As in all other processes. Threads that spin while they wait take hours instead of minutes beside other work.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
if [ ! -f "runs/warm_start_$task/model.safetensors" ]; then
  rm -rf "runs/warm_start_$task.part"
  .venv/bin/python -W ignore -m pepo_rlhf.toy.warm_start --task "$task" --output "runs/warm_start_$task.part"
  mv "runs/warm_start_$task.part" "runs/warm_start_$task"
fi
[ -f "runs/$task/test.jsonl" ] || .venv/bin/python -W ignore -m "pepo_rlhf.toy.$task" --output "runs/$task"

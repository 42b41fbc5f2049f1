#!/usr/bin/env bash
# bash examples/recipe.sh TASK MODEL METHOD [--section.key value ...]
# Trains one cell of the paper's tables on 8 GPUs: TASK, MODEL and METHOD name files below examples/tasks,
# examples/models and examples/methods. If runs/data/TASK does not exist, it prepares the data first. PREPARE holds extra
# flags for this, such as PREPARE="--source my_refcoco" or PREPARE="--shots 1". DRY_RUN=1 only prints the settings.
# Resolved and checked on a CPU; not yet run on GPUs.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "usage: bash examples/recipe.sh TASK MODEL METHOD [--section.key value ...]" >&2
  exit 2
fi
task=$1 model=$2 method=$3
shift 3
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
settings=(--config examples/gpu.yaml --config "examples/models/$model.yaml" --config "examples/tasks/$task.yaml"
  --config "examples/methods/$method.yaml" --run.dir "runs/${task}_${model}_${method}" "$@")
if [ -n "${DRY_RUN:-}" ]; then
  exec "$python" -m pepo_rlhf.train "${settings[@]}" --print_config
fi
if [ ! -d "runs/data/$task" ]; then
  split=train frame=pixels shots=()
  case $task in
    algopuzzlevqa) split=data ;;
    fgvc_aircraft | flowers102) shots=(--shots 4) ;;
  esac
  case $model in internvl*) frame=thousandths ;; esac
  name=$(sed -n 's/^  model_name_or_path: //p' "examples/models/$model.yaml")
  length=$(sed -n 's/^  max_len: //p' examples/gpu.yaml "examples/models/$model.yaml" | tail -1)
  # shellcheck disable=SC2086  # PREPARE holds several flags
  "$python" -m pepo_rlhf.prepare "$task" --split "$split" --model "$name" --max_len "$length" --frame "$frame" \
    --output "runs/data/$task" "${shots[@]}" ${PREPARE:-}
fi
exec "$python" -m pepo_rlhf.train "${settings[@]}"

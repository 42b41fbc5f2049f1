#!/usr/bin/env bash
# bash examples/gpu_check.sh [--parts a b c] [--output DIR]
# Tries this machine's GPUs after `bash requirements/install.sh gpu`, without the network: (a) versions and kernels, (b) the
# whole chain with a tiny model, (c) steps at the shapes of Qwen2.5-VL-3B with random weights, of OpenRLHF's own trainer and
# of ours. Prints a table and writes DIR/gpu_check.json. Without a GPU it runs (a) and (b), and (c) at tiny sizes.
# Not yet run on GPUs.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # as in quickstart.sh
export HF_HUB_OFFLINE=1
exec .venv/bin/python -W ignore -m benchmarks.gpu_check "$@"

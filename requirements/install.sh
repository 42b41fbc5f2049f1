#!/usr/bin/env bash
# Installs the project with its locked CPU stack into .venv, or does nothing where that has been done.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
lock=requirements/cpu.lock
stamp=.venv/.installed-lock

if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then
  exit 0
fi
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "The lock file is for Python 3.11; $("$python" --version) is first on the path. Set PYTHON=/path/to/python3.11." >&2
  exit 1
}
command -v g++ >/dev/null || { echo "g++ is missing: DeepSpeed compiles its CPU operators with it." >&2; exit 1; }

echo "[1/3] creating .venv"
"$python" -m venv .venv
echo "[2/3] installing $(grep -c == "$lock") packages of $lock (1 to 2 minutes)"
# PyTorch's index has CPU builds of torch and torchvision. Where it cannot be reached, torch comes from the wheel
# folder that pip is configured with (PIP_FIND_LINKS or pip.conf), and torchvision is PyPI's CUDA build, whose
# transforms are all that is used of it.
cpu_index=https://download.pytorch.org/whl/cpu
if .venv/bin/python -c "import urllib.request as r; r.urlopen('$cpu_index/torch/', timeout=10)" 2>/dev/null; then
  torch_source=(--index-url "$cpu_index" torch==2.13.0+cpu torchvision==0.28.0+cpu)
else
  torch_source=(torch==2.13.0+cpu torchvision==0.28.0)
fi
.venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps "${torch_source[@]}" uv==0.13.9
# uv installs the rest ten times as fast; pip takes torch, because uv does not read pip's configuration.
uv=(.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps)
"${uv[@]}" -r <(grep -vE '^(torch|torchvision)==' "$lock")
echo "[3/3] installing pepo_rlhf"
"${uv[@]}" --no-build-isolation -e .
cp "$lock" "$stamp"

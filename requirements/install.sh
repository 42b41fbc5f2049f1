#!/usr/bin/env bash
# bash requirements/install.sh [cpu|gpu]
# Installs the project with its locked stack into .venv, or does nothing where that has been done. Without an argument it
# keeps to the stack that .venv has, and begins with the one for a CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.installed-lock # a copy of the lock
installed=$([ ! -f "$stamp" ] || { grep -q '^vllm==' "$stamp" && echo gpu || echo cpu; })
stack=${1:-${installed:-cpu}}
lock=requirements/$stack.lock
[[ $stack == cpu || $stack == gpu ]] || { echo "usage: bash requirements/install.sh [cpu|gpu]" >&2; exit 2; }

if [ -f "$stamp" ] && cmp -s "$lock" "$stamp"; then
  exit 0
fi
is_python_311() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; }
python=
for candidate in ${PYTHON:-python3 python3.11}; do
  is_python_311 "$candidate" && python=$candidate && break
done
if [ -z "$python" ] && { [ -n "${PYTHON:-}" ] || ! command -v uv >/dev/null; }; then
  echo "The lock is for Python 3.11, and ${PYTHON:-neither python3 nor python3.11} is that: install it, or uv, or set" \
    "PYTHON=/path/to/python3.11." >&2
  exit 1
fi
command -v g++ >/dev/null || { echo "g++ is missing: DeepSpeed compiles its operators with it." >&2; exit 1; }
gigabytes=$([ "$stack" = gpu ] && echo 11 || echo 6)
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')
if [ "$free" -lt "$gigabytes" ]; then
  echo "The $stack stack takes $gigabytes GB of disk; $free GB are free at $PWD." >&2
  exit 1
fi

echo "[1/3] creating .venv"
# Packages of the two stacks have the same files, so that one cannot go on top of the other.
clear=$([ "${installed:-$stack}" = "$stack" ] || echo --clear)
if [ -n "$python" ]; then
  "$python" -m venv $clear .venv
else # uv brings Python 3.11
  uv venv --quiet --seed --python 3.11 $clear .venv
fi
echo "[2/3] installing $(grep -c == "$lock") packages of $lock (1 to 2 minutes)"
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet install --no-deps uv==0.13.9)
if [ "$stack" = cpu ]; then
  # PyTorch's index has CPU builds of torch and torchvision. Where it cannot be reached, torch comes from the wheel
  # folder that pip is configured with (PIP_FIND_LINKS or pip.conf), and torchvision is PyPI's CUDA build, whose
  # transforms are all that is used of it. pip takes torch, because uv does not read pip's configuration.
  cpu_index=https://download.pytorch.org/whl/cpu
  if .venv/bin/python -c "import urllib.request as r; r.urlopen('$cpu_index/torch/', timeout=10)" 2>/dev/null; then
    pip+=(--index-url "$cpu_index" torch==2.13.0+cpu torchvision==0.28.0+cpu)
  else
    pip+=(torch==2.13.0+cpu torchvision==0.28.0)
  fi
fi
"${pip[@]}"
# uv installs the rest ten times as fast.
uv=(.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps)
"${uv[@]}" -r <([ "$stack" = gpu ] && cat "$lock" || grep -vE '^(torch|torchvision)==' "$lock")
if [ "$stack" = gpu ]; then # DeepSpeed links its Adam with the CUDA runtime, which the packages have under another name
  ln -sf libcudart.so.13 "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13/lib/libcudart.so"
fi
echo "[3/3] installing pepo_rlhf"
"${uv[@]}" --no-build-isolation -e .
cp "$lock" "$stamp"

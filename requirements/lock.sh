#!/usr/bin/env bash
# Resolves requirements/cpu.in again and writes requirements/cpu.lock. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# Every package of the CPU stack. Written by requirements/lock.sh from requirements/cpu.in; not edited by hand."
  uv pip compile requirements/cpu.in --override requirements/cpu.overrides --python-version 3.11 \
    --no-header --no-annotate --no-emit-find-links --find-links "${PIP_FIND_LINKS:-https://download.pytorch.org/whl/cpu}" \
    | grep -v '^-e '
} > requirements/cpu.lock.new
mv requirements/cpu.lock.new requirements/cpu.lock

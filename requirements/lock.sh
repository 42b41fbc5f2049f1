#!/usr/bin/env bash
# bash requirements/lock.sh [cpu|gpu ...]: resolves a stack again and writes its lock. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- cpu gpu
for stack in "$@"; do
  lock=requirements/$stack.lock
  find_links=()
  [ "$stack" = gpu ] || find_links=(--find-links "${PIP_FIND_LINKS:-https://download.pytorch.org/whl/cpu}")
  {
    echo "# Every package of the ${stack^^} stack. Written by requirements/lock.sh from requirements/$stack.in; not edited by hand."
    uv pip compile "requirements/$stack.in" --override "requirements/$stack.overrides" --python-version 3.11 \
      --no-header --no-annotate --no-emit-find-links "${find_links[@]}" | grep -v '^-e '
  } > "$lock.new"
  mv "$lock.new" "$lock"
done

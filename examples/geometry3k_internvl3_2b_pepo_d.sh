#!/usr/bin/env bash
# bash examples/geometry3k_internvl3_2b_pepo_d.sh [--section.key value ...]
# PEPO_D on Geometry3K, InternVL3-2B-hf (see docs/parity.md), one node of 8 GPUs. Not yet run on GPUs.
exec bash "$(dirname "$0")/recipe.sh" geometry3k internvl3_2b pepo_d "$@"

#!/usr/bin/env bash
# bash examples/geometry3k_qwen25vl_3b_pepo_d.sh [--section.key value ...]
# The paper's released recipe: PEPO_D on Geometry3K, Qwen2.5-VL-3B-Instruct, one node of 8 GPUs. Not yet run on GPUs.
exec bash "$(dirname "$0")/recipe.sh" geometry3k qwen25vl_3b pepo_d "$@"

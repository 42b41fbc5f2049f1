"""Format reward: does a response keep its reasoning and its answer in one tag pair each?"""

from __future__ import annotations

import re

_TAG = re.compile(r"</?(?:think|answer)>")
_PAIRS = ["<think>", "</think>", "<answer>", "</answer>"]


def format_reward(response: str, label: str) -> float:
    """Return 1.0 if the response holds exactly one think pair, then exactly one answer pair; else 0.0.

    Every tag counts: a stray, repeated, nested or unclosed one scores 0.0. Text before, between and after the pairs
    is free, as the published recipe counts pairs only. The label is not looked at.
    """
    return float(_TAG.findall(response) == _PAIRS)

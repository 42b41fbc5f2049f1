"""A reward that spreads where random weights answer nothing right: 0 or 1, from a checksum of the response."""

from __future__ import annotations

import zlib


def hash_reward(response: str, label: str) -> float:
    return float(zlib.crc32(response.encode()) % 2)


def reward_func(queries: list[str], prompts: list[str], labels: list[str]) -> dict:
    """Return the same in the form that OpenRLHF asks of a file that is named as reward."""
    reward = hash_reward(queries[0].removeprefix(prompts[0]), labels[0])
    return {"rewards": reward, "scores": reward, "extra_logs": {}}

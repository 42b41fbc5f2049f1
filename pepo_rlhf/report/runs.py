"""Read a run's metrics, evaluations and settings for the report, and find in what two runs differ."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pepo_rlhf.report.rounding import rounded
from pepo_rlhf.report.summary import read_jsonl, read_settings, read_steps, verifier_of


def read_run(run_dir: Path) -> dict[str, Any]:
    """Return the run as plain data.

    It has `name`, `settings` (text by dotted name), the records `steps` and `evaluations`, and `verifier`, the name of
    the score that it is judged by.

    Raises:
        ValueError: if the folder holds no metrics.
    """
    steps = read_steps(run_dir)
    evaluations = read_jsonl(run_dir / "evaluations.jsonl")
    return {
        "name": run_dir.resolve().name,
        "verifier": verifier_of(run_dir),
        "settings": flat_settings(read_settings(run_dir)),
        "steps": [_rounded_record(step) for step in steps],
        "evaluations": [_rounded_record(evaluation) for evaluation in evaluations],
    }


def flat_settings(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings as text by dotted name."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _rounded_record(record: dict[str, Any]) -> dict[str, Any]:
    return {name: rounded(value) if isinstance(value, float) else value for name, value in record.items()}


def differing_settings(a: dict[str, str], b: dict[str, str]) -> list[tuple[str, str | None, str | None]]:
    """Return name and values of every setting in which two runs differ; None where a run does not have it."""
    names = [*a, *(name for name in b if name not in a)]
    return [(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def score_differences(a: list[dict[str, Any]], b: list[dict[str, Any]], verifier: str) -> list[dict[str, Any]]:
    """Return the held-out score of run b minus that of run a, with a 95% interval, at every step that both have.

    The interval is made of the two runs' own by MOVER (Zou and Donner 2008, Statistics in Medicine 27), which takes
    their errors as independent. Runs evaluated on the same prompts tend to err together: it is then too wide.
    """
    name = f"eval_{verifier}"
    evaluations = {record["global_step"]: record for record in b if f"{name}_low" in record}
    pairs = [(x, evaluations[x["global_step"]]) for x in a if f"{name}_low" in x and x["global_step"] in evaluations]
    return [_difference(x, y, name) for x, y in pairs]


def _difference(a: dict[str, Any], b: dict[str, Any], name: str) -> dict[str, Any]:
    value_a, low_a, high_a = (a[f"{name}{end}"] for end in ("", "_low", "_high"))
    value_b, low_b, high_b = (b[f"{name}{end}"] for end in ("", "_low", "_high"))
    difference = value_b - value_a
    return {
        "step": a["global_step"],
        "a": value_a,
        "b": value_b,
        "difference": rounded(difference),
        "low": rounded(difference - math.hypot(value_b - low_b, high_a - value_a)),
        "high": rounded(difference + math.hypot(high_b - value_b, value_a - low_a)),
    }

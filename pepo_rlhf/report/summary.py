"""python -m pepo_rlhf.report.summary RUN_DIR: print a finished run as a short table, and draw its learning curve."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import yaml


def read_jsonl(path: Path) -> list[dict]:
    """Return the records of a file; none if it is not there.

    Raises:
        ValueError: for a line that is not JSON, such as one that is being written.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} line {number} is not JSON: {error}") from error
    return records


def read_steps(run_dir: Path) -> list[dict]:
    """Return the metrics of a run, one record a step.

    Raises:
        ValueError: if the folder holds none.
    """
    steps = read_jsonl(run_dir / "metrics.jsonl")
    if not steps:
        raise ValueError(f"{run_dir}: no metrics.jsonl with a step in it; give the folder of a run")
    return steps


def read_settings(run_dir: Path) -> dict[str, Any]:
    """Return the settings in the run's config.yaml; none if it is not there."""
    path = run_dir / "config.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def components_of(run_dir: Path) -> list[str]:
    """Return the names of the reward's components, in the order of --reward.functions."""
    functions = read_settings(run_dir).get("reward", {}).get("functions", [])
    return [function.rpartition(":")[2] for function in functions]


def verifier_of(run_dir: Path) -> str:
    """Return the component that a run is judged by: the last of --reward.functions that has a held-out interval.

    Without evaluations it is the last of all, and without components the reward.
    """
    evaluations = read_jsonl(run_dir / "evaluations.jsonl")
    scored = [name[len("eval_") : -len("_low")] for name in (evaluations or [{}])[0] if name.endswith("_low")]
    components = components_of(run_dir) or scored
    return ["reward", *components, *(name for name in components if name in scored)][-1]


def quarters(values: list[float]) -> tuple[float, float]:
    """Return the means of the first and of the last quarter of `values`; at least one value each."""
    size = max(1, len(values) // 4)
    return mean(values[:size]), mean(values[-size:])


def table(run_dir: Path) -> str:
    """Return the run in a few lines.

    Raises:
        ValueError: if the folder holds no metrics.
    """
    steps = read_steps(run_dir)
    evaluations = read_jsonl(run_dir / "evaluations.jsonl")
    verifier = verifier_of(run_dir)
    rows = [("", "first quarter", "last quarter")]
    for name in dict.fromkeys(("reward", verifier, *components_of(run_dir))):
        if name in steps[0]:
            first, last = quarters([step[name] for step in steps])
            rows.append((f"{name}, training samples", f"{first:.3f}", f"{last:.3f}"))
    if len(evaluations) > 1 and f"eval_{verifier}_low" in evaluations[0]:
        rows.append(("", "before", "after"))
        before, after = (interval(evaluation, verifier) for evaluation in (evaluations[0], evaluations[-1]))
        rows.append((f"{verifier}, held-out", before, after))
    lines = [f"{label:26}{before:>24}{after:>24}" for label, before, after in rows]
    seconds = sum(step["time_step"] for step in steps)
    lines.append(f"{len(steps)} steps in {seconds / 60:.1f} minutes; run folder {run_dir}")
    return "\n".join(lines)


def interval(evaluation: dict, verifier: str) -> str:
    """Return mean and 95% interval of an evaluation."""
    value, low, high = (evaluation[f"eval_{verifier}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def draw_learning_curve(run_dirs: list[Path], output: Path) -> None:
    """Draw reward and score of each step, one line a run, and the held-out score with its 95% interval as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    verifier = verifier_of(run_dirs[0])
    figure, (reward, score) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for run_dir in run_dirs:
        steps = read_jsonl(run_dir / "metrics.jsonl")
        numbers = [step["global_step"] for step in steps]
        (line,) = reward.plot(numbers, smooth([step["reward"] for step in steps]), label=run_dir.name)
        if all(verifier in step for step in steps):
            score.plot(numbers, smooth([step[verifier] for step in steps]), color=line.get_color())
        evaluations = read_jsonl(run_dir / "evaluations.jsonl")
        for evaluation in (one for one in evaluations if f"eval_{verifier}_low" in one):
            value, low, high = (evaluation[f"eval_{verifier}{end}"] for end in ("", "_low", "_high"))
            spread = [[value - low], [high - value]]
            score.errorbar(evaluation["global_step"], value, spread, fmt="o", color=line.get_color(), capsize=3)
    reward.set(title="reward of training samples", xlabel="step")
    score.set(title=f"{verifier}: samples (line), held-out (points)", xlabel="step")
    reward.legend()
    figure.savefig(output, dpi=120)
    pyplot.close(figure)


def smooth(values: list[float], width: int = 5) -> list[float]:
    """Return the mean of each value and up to `width` - 1 before it."""
    return [mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dirs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument(
        "--output", type=Path, help="picture to draw; learning_curve.png in the first folder by default"
    )
    arguments = parser.parse_args()
    for run_dir in arguments.run_dirs:
        print(table(run_dir))
    output = arguments.output or arguments.run_dirs[0] / "learning_curve.png"
    draw_learning_curve(arguments.run_dirs, output)
    print(f"learning curve: {output}")


if __name__ == "__main__":
    main()

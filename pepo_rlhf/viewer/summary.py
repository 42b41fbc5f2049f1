"""python -m pepo_rlhf.viewer.summary RUN_DIR: a finished run as a short table, and its learning curve as a picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean


def read_jsonl(path: Path) -> list[dict]:
    """The records of a file; none if it is not there.

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


def quarters(values: list[float]) -> tuple[float, float]:
    """Means of the first and of the last quarter of `values`; at least one value each."""
    size = max(1, len(values) // 4)
    return mean(values[:size]), mean(values[-size:])


def table(run_dir: Path) -> str:
    """The run in a few lines.

    Raises:
        ValueError: if the folder holds no metrics.
    """
    steps = read_jsonl(run_dir / "metrics.jsonl")
    if not steps:
        raise ValueError(f"{run_dir}: no metrics.jsonl with a step in it; give the folder of a run")
    rows = [("", "first quarter", "last quarter")]
    for name in ("reward", "accuracy", "format"):
        if name in steps[0]:
            first, last = quarters([step[name] for step in steps])
            rows.append((f"{name}, training samples", f"{first:.3f}", f"{last:.3f}"))
    if len(evaluations := read_jsonl(run_dir / "evaluations.jsonl")) > 1:
        rows.append(("", "before", "after"))
        rows.append(("accuracy, held-out", interval(evaluations[0]), interval(evaluations[-1])))
    lines = [f"{label:26}{before:>24}{after:>24}" for label, before, after in rows]
    seconds = sum(step["time_step"] for step in steps)
    lines.append(f"{len(steps)} steps in {seconds / 60:.1f} minutes; run folder {run_dir}")
    return "\n".join(lines)


def interval(evaluation: dict) -> str:
    low, high = evaluation["eval_accuracy_low"], evaluation["eval_accuracy_high"]
    return f"{evaluation['eval_accuracy']:.3f} [{low:.3f}, {high:.3f}]"


def draw_learning_curve(run_dirs: list[Path], output: Path) -> None:
    """Reward and accuracy a step, one line a run, with held-out accuracy and its 95% interval as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (reward, accuracy) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for run_dir in run_dirs:
        steps = read_jsonl(run_dir / "metrics.jsonl")
        numbers = [step["global_step"] for step in steps]
        (line,) = reward.plot(numbers, smooth([step["reward"] for step in steps]), label=run_dir.name)
        accuracy.plot(numbers, smooth([step["accuracy"] for step in steps]), color=line.get_color())
        for evaluation in read_jsonl(run_dir / "evaluations.jsonl"):
            value = evaluation["eval_accuracy"]
            spread = [[value - evaluation["eval_accuracy_low"]], [evaluation["eval_accuracy_high"] - value]]
            accuracy.errorbar(evaluation["global_step"], value, spread, fmt="o", color=line.get_color(), capsize=3)
    reward.set(title="reward of training samples", xlabel="step")
    accuracy.set(title="accuracy: samples (line), held-out (points)", xlabel="step")
    reward.legend()
    figure.savefig(output, dpi=120)
    pyplot.close(figure)


def smooth(values: list[float], width: int = 5) -> list[float]:
    """Mean of each value and up to `width` - 1 before it."""
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

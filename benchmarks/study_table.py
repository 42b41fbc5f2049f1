"""python -m benchmarks.study_table [RESULTS]: the runs of `benchmarks.study`, a table and learning curves a task.

Intervals over seeds are Student's. A method is compared with its base method seed by seed: the mean difference with its
interval, and the exact two-sided sign-flip test, whose smallest p-value with five seeds is 0.0625.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
from scipy import stats

from pepo_rlhf.report.summary import smooth

BASES = {"pepo_d": "dapo"}  # of all other methods it is grpo


class Runs(NamedTuple):
    """The results of one method, by seed."""

    method: str
    name: str  # of a setting of its own
    by_seed: dict[int, dict]

    @property
    def verifier(self) -> str:
        return next(iter(self.by_seed.values()))["verifier"]

    @property
    def title(self) -> str:
        return f"{self.method} {self.name}".strip()

    def scores(self, seeds) -> list[float]:
        """Held-out scores after training."""
        return [self.by_seed[seed]["after"][f"eval_{self.verifier}"] for seed in seeds]

    @property
    def spread(self) -> float:
        """Median over all steps of p80/p20 of the token weights."""
        return median(
            high / low if low > 0 else math.inf
            for run in self.by_seed.values()
            for high, low in zip(run["curves"]["weight_p80"], run["curves"]["weight_p20"], strict=True)
        )


def read_runs(folder: Path) -> dict[str, list[Runs]]:
    """Methods of each task.

    Raises:
        ValueError: if runs of a task and a seed, which are compared, have begun from different warm starts. Those of
            other seeds may: another machine's training of the warm start rounds differently.
    """
    tasks: dict[str, dict[tuple[str, str], dict[int, dict]]] = {}
    models: dict[str, set[str]] = {}  # of each task and seed
    for path in sorted(folder.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        tasks.setdefault(run["task"], {}).setdefault((run["method"], run["name"]), {})[run["seed"]] = run
        models.setdefault(f"{run['task']}, seed {run['seed']},", set()).add(run["model"])
    for runs, found in models.items():
        if len(found) > 1:
            raise ValueError(f"{folder}: runs of {runs} began from different warm starts: {', '.join(sorted(found))}")
    return {
        task: [Runs(*key, dict(sorted(by_seed.items()))) for key, by_seed in methods.items()]
        for task, methods in tasks.items()
    }


def mean_interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95% interval; of a single value, infinity."""
    if len(values) < 2:
        return mean(values), math.inf
    return mean(values), stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)


def sign_flip(differences: list[float]) -> float:
    """p-value of the hypothesis that each difference is as likely the other way round."""
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=math.inf, alternative="two-sided"
    )
    return float(test.pvalue)


def comparison(runs: Runs, base: Runs | None) -> str:
    """Against the base method, over the seeds that both have."""
    seeds = sorted(runs.by_seed.keys() & base.by_seed.keys()) if base is not None and base != runs else []
    if len(seeds) < 2:
        return ""
    differences = [a - b for a, b in zip(runs.scores(seeds), base.scores(seeds), strict=True)]
    value, half = mean_interval(differences)
    return f"{value:+.3f} ± {half:.3f}, p = {sign_flip(differences):.3f}"


def table(methods: list[Runs]) -> str:
    """Markdown, a line a method."""
    by_title = {runs.title: runs for runs in methods}
    verifier = methods[0].verifier
    lines = [
        f"| method | held-out {verifier}, 95% interval | against its base | each seed | weights p80/p20 | steps |",
        "|---|---|---|---|---|---|",
    ]
    for runs in methods:
        scores = runs.scores(runs.by_seed)
        value, half = mean_interval(scores)
        base = by_title.get(BASES.get(runs.method, "grpo"))
        seeds = ", ".join(f"{seed}: {value:.3f}" for seed, value in zip(runs.by_seed, scores, strict=True))
        steps = median(run["num_steps"] for run in runs.by_seed.values())
        cells = [f"{value:.3f} ± {half:.3f}", comparison(runs, base), seeds, f"{runs.spread:.3f}", f"{steps:.0f}"]
        lines.append(f"| {runs.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(methods: list[Runs], output: Path) -> None:
    """Score of training samples, each seed a thin line and their mean a thick one; held-out scores as points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curves, points) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for number, runs in enumerate(methods):
        series = [smooth(run["curves"][runs.verifier]) for run in runs.by_seed.values()]
        length = min(map(len, series))
        (line,) = curves.plot(
            [mean(column) for column in zip(*(s[:length] for s in series), strict=True)], label=runs.title
        )
        for one in series:
            curves.plot(one, color=line.get_color(), alpha=0.25, linewidth=0.8)
        scores = runs.scores(runs.by_seed)
        value, half = mean_interval(scores)
        points.plot([number] * len(scores), scores, "o", color=line.get_color(), alpha=0.4)
        points.errorbar(number, value, half if math.isfinite(half) else None, fmt="_", color="black", capsize=4)
    curves.set(title=f"{methods[0].verifier} of training samples", xlabel="step")
    curves.legend()
    points.set(title=f"held-out {methods[0].verifier} after training, every seed")
    points.set_xticks(range(len(methods)), [runs.title.replace(" ", "\n") for runs in methods])
    figure.savefig(output, dpi=120)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("docs/results"))
    arguments = parser.parse_args()
    for task, methods in read_runs(arguments.results).items():
        text = table(methods)
        before = [run["before"][f"eval_{runs.verifier}"] for runs in methods for run in runs.by_seed.values()]
        start = f"Before training: {mean(before):.3f}, mean of all runs."
        (arguments.results / f"{task}.md").write_text(f"{start}\n\n{text}\n\n![]({task}.png)\n", encoding="utf-8")
        draw(methods, arguments.results / f"{task}.png")
        print(f"{task}. {start}\n{text}\n")


if __name__ == "__main__":
    main()

"""Recompute token weights for other settings from token records: no model, no GPU."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import torch

from pepo_rlhf.core.signal import ResponseText, response_values
from pepo_rlhf.core.token_weighting import TokenWeighting
from pepo_rlhf.core.weighting import load_weighting, weighting_class
from pepo_rlhf.metrics.token_records import SIGNAL_COLUMNS, StepRecords, read_steps

TOP_FRACTION = 0.2  # of the tokens, by weight, whose share of the credit is measured


class Batch(NamedTuple):
    """The records of one step; tensors are right-padded."""

    settings: dict[str, Any]
    note: str | None  # if responses of the step are missing
    signals: dict[str, torch.Tensor]  # [B, T] by name, those that were recorded
    weight: torch.Tensor  # [B, T], as recorded
    advantage: torch.Tensor  # [B, T], before weights
    mask: torch.Tensor  # [B, T] bool, True at tokens that carry a loss
    has_image: torch.Tensor  # [B, 1] bool
    responses: list[ResponseText]


def load_batches(run_dir: Path) -> list[Batch]:
    """Return every recorded step of a run.

    Raises:
        ValueError: as `read_steps` does, and if no recorded token carries a loss.
    """
    batches = [_batch(records) for records in read_steps(run_dir)]
    if not any(batch.mask.any() for batch in batches):
        raise ValueError(f"{run_dir}: every recorded response was truncated, and so left out of the loss")
    return batches


def _batch(records: StepRecords) -> Batch:
    table = records.table
    lengths = pc.list_value_length(table["token_ids"]).to_pylist()

    def padded(name: str) -> torch.Tensor:
        values = torch.tensor(pc.list_flatten(table[name]).to_numpy())
        return torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True)

    weight = padded("weight")
    mask = torch.arange(weight.shape[1]) < torch.tensor(lengths).unsqueeze(-1)
    if records.settings["overlong_filtering"]:
        mask &= ~torch.tensor(table["truncated"].to_pylist()).unsqueeze(-1)
    note = None
    if table.num_rows < records.batch_size:
        note = f"step {records.step} has {table.num_rows} of {records.batch_size} responses"
    return Batch(
        settings=records.settings,
        note=note,
        signals={signal: padded(name) for signal, name in SIGNAL_COLUMNS.items() if not table[name].null_count},
        weight=weight,
        advantage=padded("advantage_before"),
        mask=mask,
        has_image=torch.tensor(table["has_image"].to_pylist()).unsqueeze(-1),
        responses=[
            ResponseText(row["token_texts"], row["label"], row["prompt"], row["task"])
            for row in table.select(["token_texts", "label", "prompt", "task"]).to_pylist()
        ],
    )


def recomputed_weights(batch: Batch, method: str, settings: Mapping[str, Any]) -> torch.Tensor:
    """Return the [B, T] weights of a method; with the run's own method and settings, the trainer's weights.

    Raises:
        ValueError: as `load_weighting` does, and if the records lack a signal that the method needs.
    """
    weighting = load_weighting(method, settings)
    if missing := [signal for signal in weighting.policy_signals if signal not in batch.signals]:
        raise ValueError(
            f"--method {method} needs {', '.join(missing)}, which these records do not hold, as the run's "
            f"--pepo.method {batch.settings['method']} does not: record a run with a method that does"
        )
    weights = weighting({**batch.signals, **_response_signals(batch, weighting)}, batch.mask)
    if batch.settings["no_image"] == "uniform":
        return torch.where(batch.has_image, weights, batch.mask.float())
    return weights


def _response_signals(batch: Batch, weighting: TokenWeighting) -> dict[str, torch.Tensor]:
    found = {name: torch.zeros(batch.mask.shape) for name in weighting.response_signals}
    for row, response in enumerate(batch.responses if found else []):
        for name, values in response_values(weighting.response_signals, response).items():
            found[name][row, : len(values)] = values
    return found


def sweep(
    batches: Sequence[Batch], methods: Sequence[str] | None = None, settings: Mapping[str, Sequence[Any]] | None = None
) -> pd.DataFrame:
    """Return one row for each combination of methods and values of settings.

    Args:
        batches: the recorded steps.
        methods: as --pepo.method; None stands for the run's own.
        settings: values to try by the setting's name. A setting without values has the run's own value, or, if the
            run's method does not have it, its default.

    Raises:
        ValueError: if steps of the run differ in a setting without values, as after a resume; for a setting that none
            of the methods has; and as `recomputed_weights` does.
    """
    methods = methods or [_of_the_run(batches, "method", "--method", [batch.settings["method"] for batch in batches])]
    settings = settings or {}
    known = {field.name for method in methods for field in fields(weighting_class(method).Settings)}
    if unknown := [name for name in settings if name not in known]:
        raise ValueError(
            f"--settings.{unknown[0]} is no setting of {', '.join(methods)}: give one of "
            f"{', '.join(f'--settings.{name}' for name in sorted(known)) or 'none'}"
        )
    rows = []
    for method in methods:
        names = [field.name for field in fields(weighting_class(method).Settings)]
        lists = [settings[name] if name in settings else _recorded(batches, name) for name in names]
        for values in itertools.product(*lists):
            chosen = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            resolved = asdict(load_weighting(method, chosen).settings)
            weights = [recomputed_weights(batch, method, resolved) for batch in batches]
            rows.append({"method": method, **dict.fromkeys(sorted(known)), **resolved, **measure(batches, weights)})
    return pd.DataFrame(rows)


def _recorded(batches: Sequence[Batch], name: str) -> list[Any]:
    """Return the run's value of a setting, or None for its default, in a list."""
    used = [batch.settings["settings"][name] for batch in batches if name in batch.settings["settings"]]
    return [_of_the_run(batches, f"settings.{name}", f"--settings.{name}", used) if used else None]


def _of_the_run(batches: Sequence[Batch], name: str, flag: str, used: Sequence[Any]) -> Any:
    values = sorted(set(used))
    if len(values) > 1:
        raise ValueError(f"the run's steps were recorded with different --pepo.{name} {values}: give {flag}")
    return values[0]


def measure(batches: Sequence[Batch], weights: Sequence[torch.Tensor]) -> dict[str, float]:
    """Return spread, rank correlations and credit of weights over all recorded tokens that carry a loss.

    Correlations are Spearman's, nan where one side is constant or was not recorded. Quantiles are those of
    metrics.jsonl. largest_change is the largest difference from a recorded weight.
    """

    def valid(tensors: Sequence[torch.Tensor]) -> np.ndarray:
        return torch.cat([tensor[batch.mask] for tensor, batch in zip(tensors, batches, strict=True)]).numpy()

    new, recorded = valid(weights), valid([batch.weight for batch in batches])
    scores = {"weight": new, "recorded": recorded}
    for signal, name in SIGNAL_COLUMNS.items():
        if all(signal in batch.signals for batch in batches):
            scores[name] = valid([batch.signals[signal] for batch in batches])
    ranks = pd.DataFrame(scores).reindex(columns=["weight", "recorded", "entropy", "similarity"]).rank()
    low, high = np.quantile(new, [0.2, 0.8], method="nearest")
    return {
        "weight_min": float(new.min()),
        "weight_p20": float(low),
        "weight_p80": float(high),
        "weight_max": float(new.max()),
        "rank_corr_recorded": ranks["weight"].corr(ranks["recorded"]),
        "rank_corr_entropy": ranks["weight"].corr(ranks["entropy"]),
        "rank_corr_similarity": ranks["weight"].corr(ranks["similarity"]),
        "top_credit": top_credit(new, valid([batch.advantage for batch in batches])),
        "largest_change": float(np.abs(new - recorded).max()),
    }


def top_credit(weights: np.ndarray, advantages: np.ndarray) -> float:
    """Return the share of the positive credit A * w on the TOP_FRACTION of its tokens with the largest weights.

    Tokens of equal weight at the edge count in part, so that even weights give TOP_FRACTION. nan without any credit.
    """
    weights, advantages = weights[advantages > 0], advantages[advantages > 0]
    levels, level, counts = np.unique(-weights, return_inverse=True, return_counts=True)  # largest weight first
    room = TOP_FRACTION * len(weights) - (np.cumsum(counts) - counts)
    credit = np.bincount(level, weights=advantages * weights, minlength=len(levels))
    if not credit.any():
        return float("nan")
    return float((credit * np.clip(room / counts, 0, 1)).sum() / credit.sum())


def notes(batches: Sequence[Batch], table: pd.DataFrame) -> list[str]:
    """Return what keeps the table from describing the run's whole batches, a sentence a line."""
    cut = [batch.note for batch in batches if batch.note]
    if not cut:
        return []
    lines = [f"--logger.tokens_max_rows cut {len(cut)} of {len(batches)} recorded steps: {cut[0]}"]
    for method in table["method"].unique():
        if weighting_class(method).compares_responses:
            lines.append(
                f"{method} compares the responses of a whole batch in the run, and the recorded ones here: its weights "
                "differ from the run's"
            )
    return lines


def write(table: pd.DataFrame, remarks: list[str], folder: Path) -> None:
    """Write reweight.csv, reweight.json and reweight.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "reweight.csv", index=False)
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    (folder / "reweight.json").write_text(json.dumps({"notes": remarks, "rows": rows}, indent=1), encoding="utf-8")
    draw(table, folder / "reweight.png")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw a line for each combination: spread, share of the credit, rank correlations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (13, 2.2 + 0.35 * len(table))
    figure, (spread, credit, correlation) = pyplot.subplots(1, 3, figsize=size, sharey=True, layout="constrained")
    lines = range(len(table))
    # Colours by Okabe and Ito; shapes tell the same apart without them.
    spread.hlines(lines, table["weight_min"], table["weight_max"], color="#999999", label="min to max")
    spread.hlines(lines, table["weight_p20"], table["weight_p80"], color="#0072B2", linewidth=6, label="p20 to p80")
    spread.axvline(1, color="#999999", linestyle=":")
    if table["weight_max"].max() > 5:
        spread.set_xscale("symlog")
    credit.plot(table["top_credit"], lines, "o", color="#0072B2")
    credit.axvline(TOP_FRACTION, color="#999999", linestyle=":", label="even weights")
    for name, marker, color in (
        ("recorded", "o", "#0072B2"),
        ("entropy", "s", "#D55E00"),
        ("similarity", "^", "#009E73"),
    ):
        correlation.plot(table[f"rank_corr_{name}"], lines, marker, color=color, label=name)
    correlation.axvline(0, color="#999999", linestyle=":")
    correlation.set_xlim(-1.05, 1.05)
    settings = table.columns[1 : table.columns.get_loc("weight_min")]
    labels = [
        "  ".join([str(row["method"]), *(f"{name} {row[name]}" for name in settings if pd.notna(row[name]))])
        for row in table.to_dict("records")
    ]
    spread.set_yticks(lines, labels)
    spread.invert_yaxis()
    spread.set_title("token weights")
    credit.set_title("positive credit on\nthe top 20% of tokens")
    correlation.set_title("rank correlation\nof the weights with")
    for axis in (spread, credit, correlation):
        axis.legend(
            fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.4 / (size[1] - 1)), ncols=3, frameon=False
        )
    figure.savefig(path, dpi=120)
    pyplot.close(figure)

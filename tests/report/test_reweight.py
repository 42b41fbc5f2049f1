"""Sweeps over records made by hand. Parity with the trainer's own weights: test_experience_maker.py, test_train.py."""

import csv
import json
import math
import sys

import numpy as np
import pytest

from pepo_rlhf.metrics.token_records import write_step
from pepo_rlhf.report.reweight import load_batches, notes, recomputed_weights, sweep, top_credit
from pepo_rlhf.reweight import main

SETTINGS = {
    "method": "perception",
    "alpha": 0.05,
    "temperature": 1.0,
    "schedule": "linear",
    "similarity": "cosine",
    "top_fraction": 0.2,
    "no_image": "uniform",
    "num_samples": 1,
    "overlong_filtering": False,
}


def softmax_weights(scores, temperature=1.0):
    """T * softmax(scores / temperature), by the definition."""
    exponentials = [math.exp(score / temperature) for score in scores]
    return [len(scores) * e / sum(exponentials) for e in exponentials]


def write_records(run_dir, similarities, entropies, step=1, batch_size=None, has_image=True, **changes):
    """One response a list of similarities, weighted by perception at temperature 1."""
    rows = []
    for sample, (similarity, entropy) in enumerate(zip(similarities, entropies, strict=True)):
        length = len(similarity)
        weight = softmax_weights(similarity) if has_image else [1.0] * length
        rows.append(
            {
                "step": step,
                "group": str(sample),
                "sample": 0,
                "task": "",
                "prompt": "",
                "label": "",
                "response": "",
                "images": [],
                "token_ids": np.arange(length),
                "token_texts": [""] * length,
                "log_prob": np.zeros(length),
                "entropy": entropy,
                "similarity": similarity,
                "weight": weight,
                "advantage_before": np.ones(length),
                "advantage": np.zeros(length),
                "rollout_log_prob": None,
                "reward": 0.0,
                "reward_parts": {},
                "truncated": False,
                "has_image": has_image,
                "progress": 0.0,
            }
        )
    write_step(run_dir, step, rows, SETTINGS | changes, batch_size or len(rows))


SIMILARITIES = [[0.1, 0.5, 0.2, 0.9], [0.3, 0.2]]
ENTROPIES = [[1.0, 0.1, 0.5, 0.0], [0.2, 2.0]]


@pytest.fixture
def run_dir(tmp_path):
    write_records(tmp_path, SIMILARITIES, ENTROPIES)
    return tmp_path


def test_the_runs_own_settings_give_the_recorded_weights(run_dir):
    table = sweep(load_batches(run_dir), method=None, alpha=None, temperature=None)
    (row,) = table.to_dict("records")
    assert (row["method"], row["alpha"], row["temperature"]) == ("perception", 0.05, 1.0)
    assert row["largest_change"] < 1e-6
    assert row["rank_corr_recorded"] == pytest.approx(1)


def test_several_values_make_every_combination(run_dir):
    batches = load_batches(run_dir)
    table = sweep(batches, method=["pepo", "uniform"], alpha=[0.0, 0.1, 0.2], temperature=[0.5, 1.8])
    assert len(table) == len(table.drop_duplicates(["method", "alpha", "temperature"])) == 12


def test_spread_at_another_temperature_by_hand(run_dir):
    (row,) = sweep(load_batches(run_dir), method=None, alpha=None, temperature=[0.5]).to_dict("records")
    expected = sorted(w for similarity in SIMILARITIES for w in softmax_weights(similarity, 0.5))
    spread = [row[name] for name in ("weight_min", "weight_p20", "weight_p80", "weight_max")]
    assert spread == pytest.approx([expected[0], expected[1], expected[4], expected[5]], abs=1e-6)


def test_rank_correlations_by_hand(tmp_path):
    # One response: the weights of perception are in the order of the similarities, 1 2 3 4.
    write_records(tmp_path, [[0.1, 0.2, 0.3, 0.4]], [[4.0, 3.0, 1.0, 2.0]])
    (row,) = sweep(load_batches(tmp_path), method=None, alpha=None, temperature=[0.1]).to_dict("records")
    assert row["rank_corr_similarity"] == pytest.approx(1)
    # Ranks 4 3 1 2 against 1 2 3 4: differences 3 1 2 2, so 1 - 6 * 18 / (4 * 15).
    assert row["rank_corr_entropy"] == pytest.approx(-0.8)
    (even,) = sweep(load_batches(tmp_path), method=["uniform"], alpha=None, temperature=None).to_dict("records")
    assert math.isnan(even["rank_corr_recorded"])


def test_top_credit_by_hand():
    # Of ten tokens with credit, the two of weight 3 and 2 hold 6 and 2 of 16; a token of negative advantage is none.
    weights = np.array([3.0, 2.0, *[1.0] * 8, 9.0])
    advantages = np.array([2.0, 1.0, *[1.0] * 8, -1.0])
    assert top_credit(weights, advantages) == pytest.approx(8 / 16)


def test_top_credit_of_equal_weights_is_their_share_whatever_their_order():
    assert top_credit(np.ones(7), np.arange(1.0, 8.0)) == pytest.approx(0.2)


@pytest.mark.parametrize(("weights", "advantages"), [([1.0, 2.0], [-1.0, 0.0]), ([0.0, 1.0], [1.0, -1.0])])
def test_there_may_be_no_credit(weights, advantages):
    assert math.isnan(top_credit(np.array(weights), np.array(advantages)))


def test_prompts_without_an_image_stay_even(tmp_path):
    write_records(tmp_path, SIMILARITIES, ENTROPIES, has_image=False)
    (batch,) = load_batches(tmp_path)
    assert recomputed_weights(batch, {"temperature": 0.1}).eq(batch.mask).all()


def test_high_entropy_keeps_the_top_of_the_recorded_tokens_and_says_that_it_may_not_be_the_runs(tmp_path):
    write_records(tmp_path, SIMILARITIES, ENTROPIES, batch_size=128)
    batches = load_batches(tmp_path)
    # Six entropies, quantile 0.8 at position 4 of 0..5: 1.0 and 2.0 stay.
    assert recomputed_weights(batches[0], {"method": "high_entropy"}).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    sentences = notes(batches, sweep(batches, method=["high_entropy"], alpha=None, temperature=None))
    assert "step 1 has 2 of 128 responses" in sentences[0]
    assert "threshold" in sentences[1]
    assert len(notes(batches, sweep(batches, method=["pepo"], alpha=None, temperature=None))) == 1


def test_whole_batches_need_no_note(run_dir):
    batches = load_batches(run_dir)
    assert notes(batches, sweep(batches, method=["high_entropy"], alpha=None, temperature=None)) == []


def test_steps_of_different_settings_need_a_value(run_dir):
    write_records(run_dir, SIMILARITIES, ENTROPIES, step=10, temperature=0.5)
    batches = load_batches(run_dir)
    with pytest.raises(ValueError, match=r"different --pepo.temperature \[0.5, 1.0\]: give --temperature"):
        sweep(batches, method=None, alpha=None, temperature=None)
    assert len(sweep(batches, method=None, alpha=None, temperature=[1.0])) == 1


@pytest.fixture
def reweight(monkeypatch):
    """The command, in this process: a new one loads torch for seconds."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["reweight", *map(str, arguments)])
        return main()

    return run


def test_command_prints_and_writes_the_table_and_a_plot(run_dir, reweight, capsys):
    assert reweight(run_dir, "--method", "pepo", "uniform", "--temperature", 0.5, 1.8) == 0
    folder = run_dir / "reweight"
    with (folder / "reweight.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["temperature"]) for row in rows] == [
        ("pepo", "0.5"),
        ("pepo", "1.8"),
        ("uniform", "0.5"),
        ("uniform", "1.8"),
    ]
    written = json.loads((folder / "reweight.json").read_text())
    assert [row["weight_max"] for row in written["rows"]] == pytest.approx([float(row["weight_max"]) for row in rows])
    assert written["rows"][2]["rank_corr_recorded"] is None  # even weights have no ranks
    assert (folder / "reweight.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("uniform", "top_credit", str(folder)))


def test_command_names_what_is_wrong(tmp_path, reweight, capsys):
    assert reweight(tmp_path / "nowhere") == 2
    assert "nowhere holds no token records" in capsys.readouterr().err
    write_records(tmp_path, SIMILARITIES, ENTROPIES)
    assert reweight(tmp_path, "--temperature", 0) == 2
    assert capsys.readouterr().err == "error: temperature must be positive, got 0.0\n"
    with pytest.raises(SystemExit, match="2"):
        reweight(tmp_path, "--alpha", -1)
    assert "--alpha must be at least 0" in capsys.readouterr().err

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
    "settings": {"temperature": 1.0},
    "schedule": "linear",
    "similarity": "cosine",
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
    (row,) = sweep(load_batches(run_dir)).to_dict("records")
    assert (row["method"], row["temperature"]) == ("perception", 1.0)
    assert "alpha" not in row, "which perception does not have"
    assert row["largest_change"] < 1e-6
    assert row["rank_corr_recorded"] == pytest.approx(1)


def test_several_values_make_every_combination(run_dir):
    batches = load_batches(run_dir)
    table = sweep(batches, ["pepo", "uniform"], {"alpha": [0.0, 0.1, 0.2], "temperature": [0.5, 1.8]})
    assert list(table.columns[:4]) == ["method", "alpha", "temperature", "weight_min"]
    assert len(table) == len(table.drop_duplicates(["method", "alpha", "temperature"])) == 7, "uniform has no settings"


def test_spread_at_another_temperature_by_hand(run_dir):
    (row,) = sweep(load_batches(run_dir), settings={"temperature": [0.5]}).to_dict("records")
    expected = sorted(w for similarity in SIMILARITIES for w in softmax_weights(similarity, 0.5))
    spread = [row[name] for name in ("weight_min", "weight_p20", "weight_p80", "weight_max")]
    assert spread == pytest.approx([expected[0], expected[1], expected[4], expected[5]], abs=1e-6)


def test_rank_correlations_by_hand(tmp_path):
    # One response: the weights of perception are in the order of the similarities, 1 2 3 4.
    write_records(tmp_path, [[0.1, 0.2, 0.3, 0.4]], [[4.0, 3.0, 1.0, 2.0]])
    (row,) = sweep(load_batches(tmp_path), settings={"temperature": [0.1]}).to_dict("records")
    assert row["rank_corr_similarity"] == pytest.approx(1)
    # Ranks 4 3 1 2 against 1 2 3 4: differences 3 1 2 2, so 1 - 6 * 18 / (4 * 15).
    assert row["rank_corr_entropy"] == pytest.approx(-0.8)
    (even,) = sweep(load_batches(tmp_path), ["uniform"]).to_dict("records")
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
    assert recomputed_weights(batch, "perception", {"temperature": 0.1}).eq(batch.mask).all()


def test_high_entropy_keeps_the_top_of_the_recorded_tokens_and_says_that_it_may_not_be_the_runs(tmp_path):
    write_records(tmp_path, SIMILARITIES, ENTROPIES, batch_size=128)
    batches = load_batches(tmp_path)
    # Six entropies, quantile 0.8 at position 4 of 0..5: 1.0 and 2.0 stay.
    assert recomputed_weights(batches[0], "high_entropy", {}).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    sentences = notes(batches, sweep(batches, ["high_entropy"]))
    assert "step 1 has 2 of 128 responses" in sentences[0]
    assert sentences[1].startswith("high_entropy compares the responses of a whole batch")
    assert len(notes(batches, sweep(batches, ["pepo"]))) == 1


def test_whole_batches_need_no_note(run_dir):
    batches = load_batches(run_dir)
    assert notes(batches, sweep(batches, ["high_entropy"])) == []


def test_steps_of_different_settings_need_a_value(run_dir):
    write_records(run_dir, SIMILARITIES, ENTROPIES, step=10, settings={"temperature": 0.5})
    batches = load_batches(run_dir)
    with pytest.raises(ValueError, match=r"different --pepo.settings.temperature \[0.5, 1.0\]: give --settings.tem"):
        sweep(batches)
    assert len(sweep(batches, settings={"temperature": [1.0]})) == 1


def test_a_signal_that_was_not_recorded_is_named(tmp_path):
    write_records(tmp_path, SIMILARITIES, [None, None])
    batches = load_batches(tmp_path)
    (row,) = sweep(batches).to_dict("records")
    assert row["largest_change"] < 1e-6 and math.isnan(row["rank_corr_entropy"])
    with pytest.raises(
        ValueError, match="--method pepo needs entropy, which .* run's --pepo.method perception does not"
    ):
        sweep(batches, ["pepo"])


OUTSIDE = """
from dataclasses import dataclass
from pepo_rlhf.core.token_weighting import TokenWeighting

class Scaled(TokenWeighting):
    signals = ("entropy",)

    @dataclass(kw_only=True)
    class Settings:
        factor: float = 1.0

    def weigh(self, signals, mask):
        return signals["entropy"] * self.settings.factor
"""


def test_a_weighting_of_the_users_own_is_swept_over_its_settings(run_dir, tmp_path, reweight, capsys):
    (tmp_path / "scaled.py").write_text(OUTSIDE)
    assert reweight(run_dir, "--method", f"{tmp_path / 'scaled.py'}:Scaled", "--settings.factor", 0.5, "2e0") == 0
    with (run_dir / "reweight" / "reweight.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["factor"], row["weight_max"]) for row in rows] == [("0.5", "1.0"), ("2.0", "4.0")]
    assert reweight(run_dir, "--settings.factor", 2) == 2
    assert (
        "--settings.factor is no setting of perception: give one of --settings.temperature" in capsys.readouterr().err
    )


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
        ("uniform", ""),
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
    assert capsys.readouterr().err == "error: --pepo.settings.temperature must be greater than 0, not 0\n"
    assert reweight(tmp_path, "--method", "pepo", "--alpha=-1") == 2
    assert "--pepo.settings.alpha must be at least 0, not -1" in capsys.readouterr().err

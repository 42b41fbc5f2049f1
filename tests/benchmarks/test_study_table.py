import json
import math

import pytest

from benchmarks.study_table import comparison, main, mean_interval, read_runs, sign_flip, table


def write(folder, method, seed, accuracy, name="", model="a", spread=(0.9, 1.08)):
    low, high = spread
    evaluation = {"eval_accuracy": accuracy}
    run = {
        "task": "counting",
        "verifier": "accuracy",
        "method": method,
        "name": name,
        "seed": seed,
        "model": model,
        "num_steps": 2,
    }
    run |= {"before": {"eval_accuracy": 0.2}, "after": evaluation}
    run |= {"curves": {"accuracy": [0.1, 0.2], "weight_p20": [low] * 2, "weight_p80": [high] * 2}}
    (folder / f"{method}{name}{seed}.json").write_text(json.dumps(run))


def test_students_interval():
    # Standard error 1 / sqrt(3), and 4.3027 is the 97.5th percentile of Student's t with two degrees of freedom.
    value, half = mean_interval([1.0, 2.0, 3.0])
    assert (value, half) == (2.0, pytest.approx(4.3027 / math.sqrt(3), rel=1e-4))
    assert mean_interval([0.5]) == (0.5, math.inf)


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([1, 2, 3, 4, 5], 2 / 32),  # all signs as they are, or all turned
        ([1, 2, 3, 4, -0.5], 4 / 32),  # as these, or with the last sign turned, each also all turned
        ([1, -1], 1.0),
    ],
)
def test_the_sign_flip_test_counts_all_signs(differences, p_value):
    assert sign_flip(differences) == pytest.approx(p_value)


def test_methods_are_compared_by_seed_with_their_base(tmp_path):
    for seed, accuracy in ((1, 0.1), (2, 0.5), (3, 0.9)):
        write(tmp_path, "grpo", seed, accuracy)
        write(tmp_path, "pepo_g", seed, accuracy + 0.02 * seed)
    write(tmp_path, "pepo_g", 4, 0.0)  # grpo has no such seed
    write(tmp_path, "pepo_d", 1, 0.7)
    grpo, pepo_d, pepo_g = read_runs(tmp_path)["counting"]
    # Differences 0.02, 0.04, 0.06: standard error 0.02 / sqrt(3).
    assert comparison(pepo_g, grpo) == f"+0.040 ± {4.3027 * 0.02 / math.sqrt(3):.3f}, p = 0.250"
    assert comparison(grpo, grpo) == comparison(pepo_d, None) == ""
    lines = table([grpo, pepo_g, pepo_d]).splitlines()
    assert "1: 0.120, 2: 0.540, 3: 0.960, 4: 0.000" in lines[3], "every seed is shown"
    assert "| 1.200 | 2 |" in lines[3], "1.08 / 0.9, two steps"
    assert "p = " not in lines[4], "the base of pepo_d is dapo, of which there is no run"


def test_runs_of_different_warm_starts_are_no_pairs(tmp_path):
    write(tmp_path, "grpo", 1, 0.1)
    write(tmp_path, "pepo_g", 1, 0.1, model="b")
    with pytest.raises(ValueError, match="counting, seed 1, began from different warm starts: a, b"):
        read_runs(tmp_path)


def test_another_machine_adds_seeds_from_its_own_warm_start(tmp_path):
    write(tmp_path, "grpo", 1, 0.1)
    write(tmp_path, "grpo", 2, 0.2, model="b")
    (grpo,) = read_runs(tmp_path)["counting"]
    assert list(grpo.by_seed) == [1, 2]


def test_a_table_and_a_picture_are_written(tmp_path, monkeypatch, capsys):
    write(tmp_path, "grpo", 1, 0.1)
    write(tmp_path, "high_entropy", 1, 0.3, spread=(0.0, 5.0))
    monkeypatch.setattr("sys.argv", ["study_table", str(tmp_path)])
    main()
    assert "| high_entropy | 0.300 ± inf |" in (tmp_path / "counting.md").read_text()
    assert (tmp_path / "counting.png").stat().st_size > 10_000
    assert "Before training: 0.200, mean of all runs" in capsys.readouterr().out

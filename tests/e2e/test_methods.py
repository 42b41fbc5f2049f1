"""Every method of examples/methods for two steps, one after the other on the same workers, by benchmarks.study."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
METHODS = sorted(path.stem for path in (REPOSITORY / "examples" / "methods").glob("*.yaml"))
UNIFORM = {"grpo", "dapo"}
FILTERING = {"dapo", "pepo_d", "pgpo", "vppo"}  # groups of equal rewards are replaced by other prompts
TWO_PASSES = {"pgpo", "tor", "vppo"}  # that compare with what the policy would say under another image
FEWER_LAYERS = {"first_layers"}  # takes ten hidden states, and the tiny model has five


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of the runs, by method. The model has learnt to end its responses: DAPO masks those that do not end."""
    folder = tmp_path_factory.mktemp("methods")
    runs = folder / "runs"
    start = ["--output", str(runs / "warm_start_counting"), "--steps", "60", "--noisy_steps", "1"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # two that spin take minutes on a busy machine
    subprocess.run([sys.executable, "-m", "pepo_rlhf.toy.warm_start", *start], check=True, env=one_thread)
    rows = ["--output", str(runs / "counting"), "--num_train", "64", "--num_test", "4"]
    subprocess.run([sys.executable, "-m", "pepo_rlhf.toy.counting", *rows], check=True)
    reward = folder / "noise.py"  # so that groups have a spread
    reward.write_text(
        "import zlib\n\ndef noise(response, label):\n    return zlib.crc32(response.encode()) % 100 / 100\n"
    )
    command = [sys.executable, "-m", "benchmarks.study", "--task", "counting", "--seeds", "1", "--name", "test"]
    command += ["--num_rows", "48", "--results", str(folder / "results"), "--runs", str(runs)]
    command += ["--reward.functions", f"[format, accuracy, '{reward}:noise']", "--rollout.n_samples_per_prompt", "4"]
    command += ["--train.batch_size", "64"]
    others = [method for method in METHODS if method not in FEWER_LAYERS]
    for rest in (["--methods", *others], ["--pepo.num_layers", "2", "--methods", *FEWER_LAYERS]):
        done = subprocess.run([*command, *rest], capture_output=True, text=True, cwd=REPOSITORY, timeout=1200)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert len(list((folder / "results").glob("*.json"))) == len(METHODS)
    return {method: runs / "study" / f"counting_{method}_test_seed1" for method in METHODS}


@pytest.mark.full
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("method", METHODS)
def test_two_steps(runs, method):
    steps = [json.loads(line) for line in (runs[method] / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == 3 or (len(steps) == 2 and method in FILTERING)
    for step in steps:
        assert step["num_samples"] == 64 and step["actor_grad_norm"] > 0 and step["rollout_trainer_gap"] < 0.03
        weights = [step[f"weight_{name}"] for name in ("min", "p20", "p50", "p80", "max")]
        assert weights == sorted(weights)
        if method in UNIFORM:
            assert weights == [1.0] * 5
        elif method == "high_entropy":
            assert (weights[0], weights[1], weights[4]) == (0, 0, 1), "a fifth of the tokens"
        elif method == "tor":
            assert (weights[0], weights[4]) == (0, 1)
        else:
            assert weights[0] < 1 < weights[4]
        assert ("image_dependence" in step) == (method in TWO_PASSES)
        if method in TWO_PASSES:
            assert 0 < step["image_dependence"] < step["image_dependence_max"]


@pytest.mark.full
def test_every_run_begins_from_the_same_model(runs):
    """The last run's weights are gone from policy and engines: in the first step nothing but the credit differs."""
    first = {
        method: json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
        for method, path in runs.items()
        if method not in FILTERING
    }
    for name in ("reward", "response_length", "entropy"):
        assert len({round(step[name], 4) for step in first.values()}) == 1, name

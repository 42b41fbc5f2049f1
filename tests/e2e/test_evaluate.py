"""The evaluation as its users start it: a process of its own, a real vLLM engine, a tiny model."""

import json
import subprocess
import sys

import pytest
from pyarrow import parquet

from pepo_rlhf.toy import counting, grounding
from pepo_rlhf.toy.dataset import write_rows


@pytest.fixture
def command(tiny_model, tmp_path):
    write_rows(tmp_path / "counting.jsonl", counting.generate(3, seed=0))
    write_rows(tmp_path / "grounding.jsonl", grounding.generate(2, seed=0), "grounding")
    command = [
        sys.executable,
        "-m",
        "pepo_rlhf.evaluate",
        "--model",
        str(tiny_model),
        "--output",
        str(tmp_path / "out"),
    ]
    command += ["--benchmark", f"counting={tmp_path}/counting.jsonl", f"grounding={tmp_path}/grounding.jsonl"]
    command += ["--num_samples", "2", "--max_new_tokens", "16", "--max_len", "512", "--batch_size", "2"]
    return [*command, "--enforce_eager", "--dtype", "float32"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nanobind" not in done.stdout + done.stderr, "what is shut down is not reported as leaked"
    return done.stdout


@pytest.mark.usefixtures("no_process_left")
def test_two_benchmarks_on_one_engine(command, tmp_path):
    table = run(command).splitlines()[-2:]
    results = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"]
    assert [results[name]["num_prompts"] for name in ("counting", "grounding")] == [3, 2]
    assert results["grounding"]["score"] == "iou50" and 0 <= results["grounding"]["iou"] <= 1
    files = sorted((tmp_path / "out" / "counting").glob("*.parquet"))
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    assert len(rows) == 6 and len({row["seed"] for row in rows}) == 6
    assert len({row["response"] for row in rows}) > 3, "samples differ"
    assert all(1 <= row["num_tokens"] <= 16 for row in rows)
    assert run(command).splitlines() == table, "nothing is missing: no engine, and the same table"


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_a_lost_batch_is_generated_again_as_it_was(command, tmp_path):
    run(command)
    lost = sorted((tmp_path / "out" / "counting").glob("*.parquet"))[-1]
    before = parquet.read_table(lost)
    lost.unlink()
    run(command)
    assert parquet.read_table(lost).equals(before)

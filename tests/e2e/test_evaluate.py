"""The evaluation as its users start it: a process of its own, a real vLLM engine, a tiny model."""

import json
import subprocess
import sys

import pytest
from pyarrow import parquet

from pepo_rlhf.sandbox import counting, grounding
from pepo_rlhf.sandbox.dataset import write_rows


@pytest.mark.usefixtures("no_process_left")
def test_two_benchmarks_and_again(tiny_model, tmp_path):
    counting.write_dataset(tmp_path / "counting.jsonl", 3, seed=0)
    write_rows(tmp_path / "grounding.jsonl", grounding.generate(2, seed=0), "grounding")
    output = tmp_path / "out"
    command = [sys.executable, "-m", "pepo_rlhf.evaluate", "--model", str(tiny_model), "--output", str(output)]
    command += ["--benchmark", f"counting={tmp_path}/counting.jsonl", f"grounding={tmp_path}/grounding.jsonl"]
    command += ["--num_samples", "2", "--max_new_tokens", "16", "--max_len", "512", "--batch_size", "2"]
    command += ["--enforce_eager", "--dtype", "float32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((output / "results.json").read_text())["benchmarks"]
    assert [results[name]["num_prompts"] for name in ("counting", "grounding")] == [3, 2]
    assert results["grounding"]["score"] == "iou50" and 0 <= results["grounding"]["iou"] <= 1
    files = sorted((output / "counting").glob("*.parquet"))
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    assert len(rows) == 6 and len({row["seed"] for row in rows}) == 6
    assert len({row["response"] for row in rows}) > 3, "samples differ"
    assert all(1 <= row["num_tokens"] <= 16 for row in rows)
    # What one batch of the real engine gives depends on nothing but the seeds: one lost batch comes out the same.
    lost = files[-1]
    before = parquet.read_table(lost)
    lost.unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert parquet.read_table(lost).equals(before)

"""`python -m benchmarks`, as written in benchmarks/README.md."""

import json
import subprocess
import sys
from pathlib import Path


def test_standard_output_is_json():
    command = [sys.executable, "-m", "benchmarks", "weights", "weights", "--rounds", "1", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    rows = json.loads(result.stdout)["rows"]
    assert [row["variant"] for row in rows] == ["uniform", "PEPO"] * 2
    assert all(row["seconds"] > 0 for row in rows)

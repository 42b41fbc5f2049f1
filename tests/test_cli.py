"""The console script: which module it starts, and with which exit code."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from pepo_rlhf import cli


def run(*words):
    code = "import sys; from pepo_rlhf import cli; sys.exit(cli.main())"
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code, *words], capture_output=True, text=True)


def test_help_lists_every_command():
    done = run("--help")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert listed == ["train", "stop", "check", "prepare", "evaluate", "report", "credit", "reweight", "reward"]


@pytest.mark.parametrize(("words", "said"), [([], "usage: pepo COMMAND"), (["tarin"], "error: 'tarin' is no command")])
def test_a_word_that_is_no_command_is_a_usage_error(words, said):
    done = run(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(said) and "train" in done.stderr


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_a_module_that_runs_by_itself(name):
    spec = importlib.util.find_spec(f"pepo_rlhf.{name}")
    assert spec.submodule_search_locations is None or importlib.util.find_spec(f"pepo_rlhf.{name}.__main__")


def test_flags_and_exit_codes_are_the_modules(tmp_path):
    """0: all graded; 1: a verifier failed on a row; 2: a file that is not there."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"response": "<answer>1</answer>", "label": "1"}\n')
    verifier = tmp_path / "verifier.py"
    verifier.write_text("def fails(response, label):\n    raise ValueError('no')\n")
    assert run("reward", "--file", str(file), "--functions", "format").returncode == 0
    assert run("reward", "--file", str(file), "--functions", f"{verifier}:fails").returncode == 1
    missing = run("reward", "--file", str(tmp_path / "missing.jsonl"))
    assert missing.returncode == 2 and missing.stderr.startswith("error: ")


def test_no_command_is_imported_before_it_is_asked_for():
    """compat is imported in every process, by its sitecustomize."""
    code = (
        "import sys; from pepo_rlhf import cli; print(*(name for name in sys.modules if name.startswith('pepo_rlhf.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("pepo_rlhf.compat")}
    assert loaded == {"pepo_rlhf.cli"}

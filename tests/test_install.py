"""What requirements/install.sh looks at before it installs, with programs that only say what they were called with."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "requirements" / "install.sh"
TOOLS = ("bash", "dirname", "cmp", "grep", "awk", "cat", "cp")
OTHER, RIGHT, STOPS = "exit 1", '[ "$1" = -c ] || { echo "$0 $*"; exit 7; }', 'echo "$0 $*"; exit 7'


@pytest.fixture
def install(tmp_path):
    """Runs a copy of the script with stand-ins for python3, python3.11, uv, g++ and df; they are all there is."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(SCRIPT, tmp_path / "requirements")
    (tmp_path / "requirements" / "cpu.lock").write_text("pint==0.25.3\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def run(free_gigabytes=100, **stand_ins):
        df = f"echo header; echo disk 0 0 {free_gigabytes}000000"
        for name, body in {"g++": "exit 0", "df": df, **stand_ins}.items():
            (programs / name.replace("_", ".")).write_text(f"#!{shutil.which('bash')}\n{body}\n")
            (programs / name.replace("_", ".")).chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        command = [programs / "bash", tmp_path / "requirements" / "install.sh"]
        done = subprocess.run(command, env=environment | {"PATH": str(programs)}, capture_output=True, text=True)
        return done.returncode, done.stdout.replace(f"{programs}/", ""), done.stderr

    return run


def test_python3_is_taken_where_it_is_3_11(install):
    status, output, _ = install(python3=RIGHT, python3_11=RIGHT)
    assert status == 7 and output.endswith("python3 -m venv .venv\n")


def test_python3_11_is_taken_where_python3_is_another(install):
    status, output, _ = install(python3=OTHER, python3_11=RIGHT)
    assert status == 7 and output.endswith("python3.11 -m venv .venv\n")


def test_uv_brings_python_where_there_is_no_3_11(install):
    status, output, _ = install(python3=OTHER, uv=STOPS)
    assert status == 7 and output.endswith("uv venv --quiet --seed --python 3.11 .venv\n")


def test_without_any_of_them_one_line_says_what_to_install(install):
    status, output, error = install(python3=OTHER)
    assert (status, output) == (1, "") and error.count("\n") == 1
    assert "neither python3 nor python3.11 is that: install it, or uv, or set PYTHON=" in error


def test_too_little_disk_is_one_line(install):
    status, output, error = install(free_gigabytes=5, python3=RIGHT)
    assert (status, output) == (1, "")
    assert error.startswith("The cpu stack takes 6 GB of disk; 5 GB are free at ") and error.count("\n") == 1


def test_an_installed_lock_is_left_alone(install, tmp_path):
    (tmp_path / ".venv").mkdir()
    shutil.copy(tmp_path / "requirements" / "cpu.lock", tmp_path / ".venv" / ".installed-lock")
    assert install() == (0, "", "")

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from pepo_rlhf.checks import versions

SETUP = (Path(__file__).parents[2] / "setup.py").read_text()


def test_pins_are_those_of_setup_py():
    assert versions.pinned_version("ray") == re.search(r'^RAY = "(.*)"', SETUP, re.M).group(1)
    assert versions.pinned_version("openrlhf") == re.search(r'^OPENRLHF = "(.*)"', SETUP, re.M).group(1)
    assert str(versions.pins()["transformers"].specifier) == re.search(r'"transformers(==.*)"', SETUP).group(1)
    assert "hypothesis" not in versions.pins()


def test_installed_packages_are_as_pinned(run_check):
    found = run_check(versions.check_versions)
    assert found["ok"] and not found["warning"] + found["error"]


def test_another_version_is_a_warning_and_a_missing_package_an_error(monkeypatch, run_check):
    installed = metadata.version

    def version(name):
        if name == "datasets":
            raise metadata.PackageNotFoundError(name)
        return "1.2.3" if name == "ray" else installed(name)

    monkeypatch.setattr(metadata, "version", version)
    found = run_check(versions.check_versions)
    assert [finding.message[:9] for finding in found["warning"]] == ["ray 1.2.3"]
    assert "datasets" in found["error"][0].message and "pip install" in found["error"][0].message


def test_a_missing_compiler_is_named(monkeypatch, run_check):
    assert run_check(versions.check_compiler)["ok"]
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler is not there" in run_check(versions.check_compiler)["error"][0].message


def test_a_lock_that_a_killed_compilation_has_left_is_named(monkeypatch, tmp_path, run_check):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert not run_check(versions.check_compilations)["warning"]
    lock = tmp_path / "py311_cpu" / "cpu_adam" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (finding,) = run_check(versions.check_compilations)["warning"]
    assert str(lock) in finding.message and "remove this file" in finding.message

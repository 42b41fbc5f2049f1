from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from pepo_rlhf.checks.run_folder import check_run_folder


@pytest.fixture
def check(tmp_path, run_check):
    """Findings on a run folder below tmp_path, which holds a file."""
    (tmp_path / "file").touch()

    def check(name):
        return run_check(
            check_run_folder, SimpleNamespace(config=SimpleNamespace(run=SimpleNamespace(dir=tmp_path / name)))
        )

    return check


@pytest.mark.parametrize("name", ["", "run", "runs/of/today"])
def test_a_folder_that_is_there_or_can_be_made(tmp_path, check, name):
    found = check(name)
    assert [finding.message for finding in found["ok"]] == [f"{tmp_path} can be written to"]
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("name", ["file", "file/run", "file/of/runs"])
def test_a_file_in_its_way_is_an_error(tmp_path, check, name):
    (found,) = check(name)["error"]
    assert (
        found.message
        == f"--run.dir {tmp_path / name}: {tmp_path / 'file'} is a file; name a folder, or move the file away"
    )
    assert found.flags == ("--run.dir",)


@pytest.mark.parametrize("name", ["", "run/of/today"])
def test_a_folder_without_the_permission_is_an_error(tmp_path, check, monkeypatch, name):
    """Told by os.access, since root, who may run this test, has every permission."""
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK | os.X_OK))
    (found,) = check(name)["error"]
    assert found.message.startswith(
        f"--run.dir {tmp_path / name}: {tmp_path} cannot be written to; name another folder"
    )

import json
import sys

import pytest

from pepo_rlhf.report import __main__ as report


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"global_step": 1, "reward": 1.0}) + "\n")
    return tmp_path


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    return report.main()


def test_report_goes_into_the_run_folder_and_says_how_to_record_tokens(run_dir, monkeypatch, capsys):
    assert call(monkeypatch, run_dir) == 0
    assert (run_dir / "report.html").read_text().startswith("<!doctype html>")
    printed = capsys.readouterr().out
    assert str(run_dir / "report.html") in printed and "1 steps" in printed and "--logger.tokens_every" in printed


def test_two_runs_go_into_one_file(run_dir, monkeypatch, tmp_path):
    assert call(monkeypatch, "--compare", run_dir, run_dir, "--output", tmp_path / "two.html") == 0
    assert '"differences":[]' in (tmp_path / "two.html").read_text()


def test_folder_without_a_run_ends_with_one_line(tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: no metrics.jsonl") and error.count("\n") == 1


def test_one_run_or_two(run_dir, monkeypatch):
    with pytest.raises(SystemExit):
        call(monkeypatch)
    with pytest.raises(SystemExit):
        call(monkeypatch, run_dir, "--compare", run_dir, run_dir)

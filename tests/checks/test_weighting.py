from types import SimpleNamespace

import pytest

from pepo_rlhf.checks.weighting import check_weighting


def check(method, **settings):
    pepo = SimpleNamespace(method=method, settings=settings)
    return list(check_weighting(SimpleNamespace(config=SimpleNamespace(pepo=pepo))))


def test_a_weighting_and_its_signals_are_told():
    (finding,) = check("pepo", alpha=0.1)
    assert (finding.level, finding.message) == ("ok", "pepo, from visual_similarity, entropy")
    assert check("uniform")[0].message == "uniform, from no signals"


def test_a_setting_that_is_ignored_is_a_warning():
    finding, _ = check("uniform", alpha=0.1)
    assert finding.level == "warning" and finding.flags == ("--pepo.settings.alpha",)
    assert "--pepo.method uniform has no such setting and ignores it" in finding.message


def test_a_file_of_the_users_own_that_does_not_load_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "s3cret-of-mine")
    (tmp_path / "mine.py").write_text("raise RuntimeError('s3cret-of-mine')")
    with pytest.raises(ValueError, match=r"mine.py cannot be read: RuntimeError: \*\*\*"):
        check(f"{tmp_path / 'mine.py'}:Mine")

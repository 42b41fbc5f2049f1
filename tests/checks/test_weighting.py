from types import SimpleNamespace

import pytest

from pepo_rlhf.checks.weighting import check_weighting
from pepo_rlhf.config import Config

LATE = """
from pepo_rlhf.core.token_weighting import TokenWeighting

class Late(TokenWeighting):
    signals = ("position",)
    response_signals = {"position": lambda response: range(len(response.token_texts))}

    def weigh(self, signals, mask):
        return signals["position"]
"""


def check(method, single_pass=False, **settings):
    config = Config()
    config.pepo.method, config.pepo.settings, config.train.single_pass = method, settings, single_pass
    return list(check_weighting(SimpleNamespace(config=config)))


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


@pytest.mark.parametrize("method", ["uniform", "pepo", "entropy", "perception", "vgpo", "additive"])
def test_weightings_of_single_responses_go_with_a_single_pass(method):
    assert [finding.level for finding in check(method, single_pass=True)] == ["ok"]


@pytest.mark.parametrize(
    ("method", "reason"),
    [("high_entropy", "compares the responses"), ("vppo", "compares the responses"), ("pgpo", "needs a second pass")],
)
def test_weightings_that_need_more_than_a_single_pass_are_errors(method, reason):
    with pytest.raises(
        ValueError, match=f"--train.single_pass true does not go with --pepo.method {method}, .*{reason}"
    ):
        check(method, single_pass=True)


def test_a_weighting_that_reads_texts_does_not_go_with_a_single_pass(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    with pytest.raises(ValueError, match="which reads the text of responses"):
        check(f"{tmp_path / 'late.py'}:Late", single_pass=True)

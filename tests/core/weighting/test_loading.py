"""Weightings by name and from files, and their settings. Errors are one line each."""

import pytest
import torch

from pepo_rlhf.core.weighting import BUILT_IN, foreign_settings, load_weighting

OUTSIDE = '''
from __future__ import annotations

from dataclasses import dataclass

import torch

from pepo_rlhf.core.token_weighting import TokenWeighting


class Late(TokenWeighting):
    """The last `num_tokens` tokens of a row."""

    scheduled = False

    @dataclass(kw_only=True)
    class Settings:
        num_tokens: int = 1
        strict: bool = False
        label: str = "x"

        def __post_init__(self):
            if self.num_tokens < 1:
                raise ValueError(f"--pepo.settings.num_tokens must be at least 1, not {self.num_tokens}")

    def weigh(self, signals, mask):
        return (mask.flip(-1).cumsum(-1).flip(-1) <= self.settings.num_tokens) & mask
'''


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "late.py").write_text(OUTSIDE)
    return f"{tmp_path / 'late.py'}:Late"


def test_the_files_of_the_folder_are_the_names():
    names = "additive entropy high_entropy looking pepo perception pgpo tor uniform vgpo vppo"
    assert names.split() == list(BUILT_IN)


def test_settings_have_their_defaults_and_whole_numbers_are_numbers():
    settings = load_weighting("pepo", {"temperature": 2}).settings
    assert (settings.alpha, settings.temperature) == (0.05, 2)


def test_a_file_outside_the_package(outside, tmp_path, monkeypatch):
    weighting = load_weighting(outside, {"num_tokens": 2})
    assert weighting({}, torch.tensor([[1, 1, 1, 0]])).tolist() == [[0, 1, 1, 0]]
    monkeypatch.chdir(tmp_path)
    assert load_weighting("late.py:Late", {}).settings.num_tokens == 1, "a relative path is one of the working folder"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_tokens": 0}, "--pepo.settings.num_tokens must be at least 1, not 0"),
        ({"num_tokens": 1.5}, "--pepo.settings.num_tokens must be a whole number, not 1.5"),
        ({"num_tokens": True}, "must be a whole number, not True"),
        ({"strict": 1}, "--pepo.settings.strict must be true or false, not 1"),
        ({"label": 1}, "--pepo.settings.label must be a text, not 1"),
        (
            {"tokens": 1},
            "tokens is no setting of --pepo.method .*late.py:Late, which has --pepo.settings.num_tokens, ",
        ),
    ],
)
def test_wrong_settings_of_a_file_are_named(outside, settings, message):
    with pytest.raises(ValueError, match=message):
        load_weighting(outside, settings)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("ppo", {}, "'ppo' is unknown: choose one of additive, .*, vppo, or path/to/file.py:ClassName"),
        ("__init__", {}, "unknown"),
        ("pepo", {"alfa": 1.0}, "alfa is no setting of --pepo.method pepo, which has .*--pepo.settings.alpha"),
        ("uniform", {"alfa": 1.0}, "which has none"),
        ("pepo", {"alpha": "high"}, "--pepo.settings.alpha must be a number, not 'high'"),
        ("pepo", {"alpha": None}, "--pepo.settings.alpha must be a number, not None"),
        ("pepo", {"alpha": False}, "--pepo.settings.alpha must be a number"),
        ("pepo", {"alpha": float("inf")}, "--pepo.settings.alpha must be finite"),
        ("pepo", {"alpha": -0.1}, "--pepo.settings.alpha must be at least 0, not -0.1"),
        ("entropy", {"temperature": 0.0}, "--pepo.settings.temperature must be greater than 0, not 0.0"),
        ("high_entropy", {"top_fraction": 0.0}, "--pepo.settings.top_fraction must be greater than 0 and at most 1"),
        ("vgpo", {"top_fraction": 1.1}, "--pepo.settings.top_fraction must be greater than 0 and at most 1"),
        ("vgpo", {"alpha": -1.0}, "--pepo.settings.alpha must be at least 0"),
        ("vppo", {"top_fraction": 1.5}, "--pepo.settings.top_fraction must be greater than 0 and at most 1, not 1.5"),
        ("vppo", {"min_scale": 1.5}, "--pepo.settings.min_scale must be from 0 to 1, not 1.5"),
        ("tor", {"entropy_fraction": 0.0}, "--pepo.settings.entropy_fraction must be greater than 0 and at most 1"),
        ("tor", {"perception_weight": -0.5}, "--pepo.settings.perception_weight must be at least 0, not -0.5"),
        ("pgpo", {"threshold": 1.0}, "--pepo.settings.threshold must lie between 0 and 1, not 1.0"),
        ("pgpo", {"boost": -1.0}, "--pepo.settings.boost must be at least 0"),
        ("absent.py:Late", {}, "absent.py cannot be read: FileNotFoundError"),
    ],
)
def test_mistakes_are_named(method, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_weighting(method, settings)
    assert "\n" not in str(caught.value)


def test_a_file_that_breaks_or_lacks_the_class_is_named(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("raise SystemExit('no')")
    with pytest.raises(ValueError, match="broken.py cannot be read: SystemExit: no"):
        load_weighting(f"{file}:Late", {})
    other = tmp_path / "other.py"
    other.write_text(OUTSIDE)
    with pytest.raises(ValueError, match="defines no TokenWeighting 'Early'; it has Late"):
        load_weighting(f"{other}:Early", {})


def test_a_signal_that_does_not_exist_is_named(tmp_path):
    file = tmp_path / "seeing.py"
    file.write_text(OUTSIDE.replace("scheduled = False", 'signals = ("sight",)'))
    with pytest.raises(ValueError, match="needs the signal 'sight'; there are entropy, image_dependence, "):
        load_weighting(f"{file}:Late", {})


def test_settings_of_other_weightings_are_left_out_and_named(outside):
    stacked = {"alpha": 0.3, "temperature": 1.8, "num_tokens": 3}
    assert foreign_settings(outside, stacked) == ["alpha", "temperature"]
    assert load_weighting(outside, stacked).settings.num_tokens == 3
    assert load_weighting("uniform", {"alpha": 0.3}).settings == load_weighting("uniform", {}).settings

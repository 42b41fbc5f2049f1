from __future__ import annotations

import pytest
import yaml

from pepo_rlhf.config import unique_keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pepo: {alpha: 0.1}\nrun: {dir: x}\npepo: {temperature: 2}", "run.yaml: line 3 has the key 'pepo' again"),
        ("actor:\n  adam:\n    lr: 1e-6\n    lr: 1e-6", "run.yaml: line 4 has the key 'lr' again; keep one"),
        ("pepo: {alpha: 1, 'alpha': 2}", "run.yaml: line 1 has the key 'alpha' again"),
        ("pepo: {alpha", "run.yaml: while parsing"),
        ("pepo: {alpha: 2026-02-30}", "run.yaml: day is out of range"),
        ("[" * 3000, "run.yaml: nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_a_key_that_stands_twice_by_line(text, message):
    with pytest.raises(yaml.YAMLError, match=f"^{message}"):
        unique_keys.load(text, "run.yaml")


def test_a_flags_value_has_no_file():
    with pytest.raises(yaml.YAMLError, match="^line 1 has the key 'format' again"):
        unique_keys.load("{format: 1, format: 2}")


def test_one_key_in_two_sections_and_keys_that_override_an_anchor_are_no_repetition():
    text = "actor: &base {num_nodes: 2, lr: 1e-6}\nref: {<<: *base, num_nodes: 1}\n"
    assert unique_keys.load(text, "run.yaml") == {
        "actor": {"num_nodes": 2, "lr": 1e-6},
        "ref": {"num_nodes": 1, "lr": 1e-6},
    }

"""The model below adapters is the same, or is named."""

from __future__ import annotations

import hashlib

import pytest

from pepo_rlhf.checkpoints import base_model


@pytest.fixture
def model(tmp_path):
    base_model.identify.cache_clear()
    for name in ("config.json", "a.safetensors", "notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    return str(tmp_path)


def test_a_folder_is_its_configuration_and_weights(model):
    expected = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.safetensors", "config.json")}
    assert base_model.identify(model) == expected
    assert base_model.difference(expected, model) is None


@pytest.mark.parametrize("change", ["other content", "one more", "one less"])
def test_the_file_that_differs_is_named(model, tmp_path, change):
    saved = base_model.identify(model)
    base_model.identify.cache_clear()
    if change == "other content":
        (tmp_path / "a.safetensors").write_bytes(b"b.safetensors")
    elif change == "one more":
        (tmp_path / "b.safetensors").touch()
    else:
        (tmp_path / "a.safetensors").unlink()
    assert base_model.difference(saved, model) == ("b.safetensors" if change == "one more" else "a.safetensors")


def test_a_model_of_the_hub_is_its_commit(monkeypatch, tmp_path):
    base_model.identify.cache_clear()
    path = tmp_path / "models--owner--name" / "snapshots" / "0123abc" / "config.json"
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda model, file: str(path))
    assert base_model.identify("owner/name") == {"commit": "0123abc"}
    assert base_model.difference({"commit": "4567def"}, "owner/name") == "commit"

"""Entrypoints and mounts by hand; test_manifest.py has what follows from them."""

from __future__ import annotations

import pytest

from pepo_rlhf.checks.manifests.start import entrypoint_flags, mounted_files

MAP = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"train.yaml": "a: 1", "other": "b"}}


@pytest.mark.parametrize(
    ("entrypoint", "flags"),
    [
        ("python -m pepo_rlhf.train", []),
        ("python -m pepo_rlhf.train --config /etc/a.yaml", ["--config", "/etc/a.yaml"]),
        ("python3 -u -m pepo_rlhf.train --config=/etc/a.yaml", ["--config", "/etc/a.yaml"]),
        ("cd '/a b' && python -m pepo_rlhf.train --run.dir '/a b' --x=1", ["--run.dir", "/a b", "--x=1"]),
    ],
)
def test_flags_are_the_words_after_the_module(entrypoint, flags):
    assert entrypoint_flags(entrypoint) == flags


@pytest.mark.parametrize(
    "entrypoint", ["", "python pepo_rlhf/train.py", "python -m pepo_rlhf.trainer", "pepo_rlhf.train"]
)
def test_an_entrypoint_without_the_module_is_refused(entrypoint):
    with pytest.raises(
        ValueError, match="does not start pepo_rlhf.train: write python -m pepo_rlhf.train --config FILE$"
    ):
        entrypoint_flags(entrypoint)


def test_an_open_quote_is_refused():
    with pytest.raises(ValueError, match="is no command .No closing quotation.: write"):
        entrypoint_flags("python -m pepo_rlhf.train '")


@pytest.mark.parametrize(
    ("mount", "source", "files"),
    [
        ({}, {}, {"/etc/run/train.yaml": "a: 1", "/etc/run/other": "b"}),
        ({"mountPath": "/etc/run/"}, {}, {"/etc/run/train.yaml": "a: 1", "/etc/run/other": "b"}),
        ({}, {"items": [{"key": "train.yaml", "path": "sub/run.yaml"}]}, {"/etc/run/sub/run.yaml": "a: 1"}),
        ({}, {"items": [{"key": "missing", "path": "run.yaml"}]}, {}),
        ({"mountPath": "/etc/t.yaml", "subPath": "train.yaml"}, {}, {"/etc/t.yaml": "a: 1"}),
        ({"subPath": "missing"}, {}, {}),
        ({"name": "unknown"}, {}, {}),
        ({}, {"name": "unknown"}, {}),
    ],
)
def test_files_are_where_kubernetes_puts_them(mount, source, files):
    container = {"name": "ray", "volumeMounts": [{"name": "volume", "mountPath": "/etc/run"} | mount]}
    volume = {"name": "volume", "configMap": {"name": "config"} | source}
    group = {"template": {"spec": {"containers": [container], "volumes": [volume]}}}
    assert mounted_files(group, [MAP]) == files

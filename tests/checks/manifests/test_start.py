"""Entrypoints and mounts by hand; test_manifest.py has what follows from them."""

from __future__ import annotations

import pytest

from pepo_rlhf.checks.manifests.deployment import read_deployment
from pepo_rlhf.checks.manifests.start import entrypoint_flags, mounted_files

RUN = "python -m pepo_rlhf.train --config /etc/a.yaml"
MAP = {"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"train.yaml": "a: 1", "other": "b"}}


@pytest.mark.parametrize(
    ("entrypoint", "flags"),
    [
        ("python -m pepo_rlhf.train", []),
        ("python -m pepo_rlhf.train --config /etc/a.yaml", ["--config", "/etc/a.yaml"]),
        ("  python3 -m pepo_rlhf.train \\\n --config=/etc/a.yaml\n", ["--config", "/etc/a.yaml"]),
        ("pepo train --run.dir '/a b' --x=1", ["--run.dir", "/a b", "--x=1"]),
        ("pepo train --reward.functions 'a;b.py:f'", ["--reward.functions", "a;b.py:f"]),  # quoted: no operator
    ],
)
def test_flags_are_the_words_after_the_command(entrypoint, flags):
    assert entrypoint_flags(entrypoint) == flags


@pytest.mark.parametrize(
    ("entrypoint", "word"),
    [
        ("", ""),
        ("python pepo_rlhf/train.py", "python"),
        ("python -m pepo_rlhf.trainer", "python"),
        ("python -m pepo_rlhf.evaluate --config x", "python"),
        ("pepo_rlhf.train", "pepo_rlhf.train"),
        ("'pepo train'", "pepo train"),
        (f"echo {RUN}", "echo"),
        (f"A=1 {RUN}", "A"),
        (f"env A=1 {RUN}", "env"),
        (f"HF_TOKEN=hf_abc {RUN}", "HF_TOKEN"),
        (f"torchrun -m pepo_rlhf.train {RUN}", "torchrun"),
    ],
)
def test_another_command_is_named_by_its_first_word_without_values(entrypoint, word):
    with pytest.raises(
        ValueError, match=f"^it begins with '{word}': write one command .* working_dir .* env_vars"
    ) as found:
        entrypoint_flags(entrypoint)
    assert "abc" not in str(found.value)


@pytest.mark.parametrize(
    ("entrypoint", "word"),
    [
        (f"pip install -e . && {RUN}", "&&"),
        (f"cd /app; {RUN}", ";"),
        (f"export A=1; {RUN}", ";"),
        (f"{RUN} || true", "||"),
        (f"{RUN} | tee log", "|"),
        (f"{RUN}; true", ";"),
        (f"{RUN}&", "&"),
        (f"{RUN} 2>&1", ">&"),
        (f"({RUN})", "("),
        ("cd /app\npython -m pepo_rlhf.train", r"\n"),
        ("python -m pepo_rlhf.train\n--config /etc/x", r"\n"),
        (f"{RUN} --run.dir $HOME/run", "$HOME/run"),
        (f"{RUN} --run.dir `pwd`", "`pwd`"),
        (f"{RUN} # --pepo.method uniform", "#"),
    ],
)
def test_what_a_shell_would_act_on_is_refused(entrypoint, word):
    with pytest.raises(ValueError) as found:
        entrypoint_flags(entrypoint)
    assert str(found.value).startswith(f"'{word}' is for a shell: write one command")


def test_an_open_quote_is_refused():
    with pytest.raises(ValueError, match="^it is no command .No closing quotation.: write one command"):
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
    cluster = {"kind": "RayCluster", "spec": {"headGroupSpec": group}}
    assert mounted_files(read_deployment(cluster, [MAP])) == files

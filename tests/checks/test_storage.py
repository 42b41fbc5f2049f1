from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from pepo_rlhf.checks import storage
from pepo_rlhf.checks.storage import check_run_folder

GIB = 2**30


@pytest.fixture
def inputs():
    """A billion (2**30) parameters in bfloat16: 2 GiB of weights."""
    args = SimpleNamespace(
        run=SimpleNamespace(dir="/nowhere/yet"),
        ds=SimpleNamespace(param_dtype="bf16"),
        ckpt=SimpleNamespace(
            save_steps=10, save_minutes=-1, disable_ds=False, save_hf=False, save_merged=False, max_num=3
        ),
        vllm=SimpleNamespace(num_engines=2),
    )
    return SimpleNamespace(num_parameters=GIB, num_adapter_parameters=0, config=args)


@pytest.fixture
def free(monkeypatch):
    def set_free(size):
        monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: SimpleNamespace(free=size))

    return set_free


def test_sizes_by_hand(inputs):
    assert storage.model_bytes(inputs) == 2 * GIB
    # three that are kept and one being written: weights 2, moments 4 + 4, the optimiser's weights 4
    assert storage.checkpoint_bytes(inputs) == 4 * (2 + 12) * GIB
    inputs.config.ckpt.save_hf = True
    assert storage.checkpoint_bytes(inputs) == 4 * (2 + 12 + 2) * GIB
    inputs.config.ckpt.save_steps = -1
    inputs.config.ckpt.save_minutes = 10.0
    assert storage.checkpoint_bytes(inputs) == 4 * storage.one_checkpoint_bytes(inputs) == 4 * (2 + 12 + 2) * GIB
    inputs.config.ckpt.save_minutes = -1
    assert storage.checkpoint_bytes(inputs) == 0
    # the object store's copy, and a file for each of two engines
    assert storage.shared_memory_bytes(inputs, on_gpus=False) == 6 * GIB


def test_sizes_with_adapters_by_hand(inputs):
    inputs.num_adapter_parameters = 2**20  # in bfloat16, 2 MiB
    assert storage.saved_bytes(inputs) == 2 * 2**20
    assert storage.one_checkpoint_bytes(inputs) == (2 + 12) * 2**20, "adapters and their optimiser"
    assert storage.shared_memory_bytes(inputs, on_gpus=False) == 6 * GIB, "engines get merged weights"
    inputs.config.ckpt.save_merged = True
    assert storage.saved_bytes(inputs) == 2 * 2**20 + 2 * GIB


@pytest.mark.parametrize(("size", "level"), [(1, "error"), (57, "warning"), (58, "ok")])
def test_disk(inputs, free, size, level):
    free(size * GIB)
    (finding,) = storage.check_disk(inputs)
    assert finding.level == level and "free at /," in finding.message


@pytest.mark.parametrize(("size", "level"), [(5, "warning"), (6, "ok")])
def test_shared_memory(inputs, free, size, level):
    free(size * GIB)
    (finding,) = storage.check_shared_memory(inputs)
    assert finding.level == level


def test_the_shared_memory_of_a_head_says_nothing_of_its_clusters_nodes(inputs, free, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    free(0)
    (finding,) = storage.check_shared_memory(inputs)
    assert finding.level == "ok" and "nodes" in finding.message


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

from __future__ import annotations

import re

import pytest
import torch

from pepo_rlhf.checks.placement import check_arithmetic, check_machine, check_nodes

BOX = {"GPU": 8.0, "CPU": 32.0}


def test_arithmetic_is_told_without_a_cluster(make_inputs, run_check):
    message = run_check(check_arithmetic, make_inputs().config)["ok"][0].message
    assert message.startswith("3 GPUs, each with a CPU: policy 1 + reference 1 + rollout 1;")


def test_a_run_that_fits_passes(make_inputs, run_check):
    found = run_check(check_nodes, make_inputs().config, [{"CPU": 4.0}, BOX])
    assert [finding.message for finding in found["ok"]] == ["8 GPUs and 36 CPUs on 2 nodes"]
    assert not found["warning"] + found["error"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([{"GPU": 2.0, "CPU": 8.0}], "reserves 3 GPUs .* the Ray cluster has 2"),
        ([{"GPU": 4.0, "CPU": 2.0}, {"CPU": 8.0}], "has 4 GPUs, of which 2 have a CPU beside them"),
    ],
)
def test_a_run_that_can_never_be_placed_is_an_error(make_inputs, nodes, words):
    (finding,) = check_nodes(make_inputs().config, nodes)
    assert finding.level == "error"
    assert re.search(words, finding.message)


def test_a_group_larger_than_a_node_is_a_warning(make_inputs, run_check):
    sizes = {"actor__num_gpus_per_node": 4, "ref__num_gpus_per_node": 4, "train__colocate_actor_ref": True}
    nodes = [{"GPU": 2.0, "CPU": 8.0}] * 3
    found = run_check(check_nodes, make_inputs(**sizes).config, nodes)
    assert found["warning"][0].flags == ("--actor.num_gpus_per_node",)


@pytest.mark.parametrize(
    ("num_gpus", "level", "words"),
    [
        (2, "error", "^the run reserves 3 GPUs .* has 2: a run without RAY_ADDRESS"),
        (4, "ok", "^this machine has 4 GPUs$"),
    ],
)
def test_without_a_cluster_the_gpus_are_those_of_this_machine(make_inputs, monkeypatch, num_gpus, level, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    (finding,) = check_machine(make_inputs().config)
    assert finding.level == level
    assert re.search(words, finding.message)


def test_without_a_gpu_they_are_logical(make_inputs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert list(check_machine(make_inputs().config)) == []

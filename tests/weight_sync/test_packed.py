"""The parts of the packed transfer that need no CUDA: NCCL itself is vLLM's, and has not been run here."""

import inspect

import pytest
import ray
import torch
from vllm.distributed.weight_transfer.base import VLLMWeightSyncClient

from pepo_rlhf.weight_sync.calls import EngineCalls
from pepo_rlhf.weight_sync.packed import EnginesClient, PackedSource, PackedTransport
from pepo_rlhf.weight_sync.weights import PolicyWeights
from pepo_rlhf.workers.rollout import RolloutWorker


@pytest.fixture
def model():
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3).bfloat16())


def test_metadata_is_what_iterating_yields(model):
    """vLLM's sender cuts its buffers by the first and fills them by the second."""
    source = PackedSource(PolicyWeights(model, zero_stage=2))
    declared = [(meta.name, meta.dtype, meta.shape) for meta in source.metadata()]
    for _ in range(2):  # each sync is a fresh pass
        assert [(name, weight.dtype, tuple(weight.shape)) for name, weight in source] == declared
    assert len(declared) == len(list(model.parameters()))


def test_frozen_weights_travel_too(model):
    for weight in model.parameters():
        weight.requires_grad_(False)
    assert len(PackedSource(PolicyWeights(model, zero_stage=2)).metadata()) == len(list(model.parameters()))


class Engine:
    """Remembers what it is asked for."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        assert hasattr(RolloutWorker, name)

        class Method:
            remote = staticmethod(lambda *args: self.calls.append((name, *args)))

        return Method


def test_engines_get_ranks_one_after_the_other(monkeypatch):
    monkeypatch.setattr(ray, "get", lambda refs: refs)
    engines = [Engine(), Engine(), Engine()]
    EnginesClient(engines, tensor_parallel_size=2).init_weight_transfer_engine({"rank_offset": 1, "world_size": 7})
    assert [engine.calls[0][1]["rank_offset"] for engine in engines] == [1, 3, 5]


def test_the_client_has_every_method_that_the_sender_calls():
    for name, method in inspect.getmembers(VLLMWeightSyncClient, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(EnginesClient, name))
            assert list(ours.parameters) == list(inspect.signature(method).parameters)


def test_the_sender_counts_policy_and_engine_ranks(monkeypatch):
    from vllm.distributed.weight_transfer import nccl_engine

    opened = []
    monkeypatch.setattr(
        nccl_engine.NCCLTrainerWeightTransferEngine, "trainer_init", lambda info, *, client, source: opened.append(info)
    )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "h")
    transport = PackedTransport(EngineCalls([1, 2, 3], ()), tensor_parallel_size=2)
    transport._open(PolicyWeights(torch.nn.Linear(1, 1), 2))
    assert (opened[0].world_size, opened[0].rank, opened[0].packed) == (7, 1, True)

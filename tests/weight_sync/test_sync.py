"""A weight sync as one rank of the policy sees it; the engines are stand-ins, and tests/e2e has the real ones."""

import pytest
import ray
import torch
from ray.exceptions import RayActorError

from pepo_rlhf.config import Config
from pepo_rlhf.weight_sync import sync
from pepo_rlhf.weight_sync.calls import EngineCalls
from pepo_rlhf.weight_sync.sync import SyncInterrupted, WeightSync, make_transport
from pepo_rlhf.weight_sync.weights import PolicyWeights


class Engine:
    """Notes what it is asked; `dies_in` names the method that finds it dead, `loses` a weight that does not arrive."""

    def __init__(self, dies_in=None, loses=None):
        self.calls, self.dies_in, self.loses, self.names = [], dies_in, loses, []

    def __getattr__(self, name):
        class Method:
            remote = staticmethod(lambda *args: self.call(name, *args))

        return Method

    def call(self, name, *args):
        self.calls.append(name)
        if name == self.dies_in:
            return RayActorError()
        if name == "reload_weights":
            self.names = [weight for weight in args[0] if weight != self.loses]
        return self.names if name == "finish_weight_update" else None


@pytest.fixture(autouse=True)
def one_rank(monkeypatch):
    def get(results):
        for result in results if isinstance(results, list) else []:
            if isinstance(result, Exception):
                raise result
        return results

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "wait", lambda references, num_returns: (references, []))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *args, **kwargs: None)
    monkeypatch.setattr(sync, "torch_dist_barrier_and_cuda_sync", lambda: None)


@pytest.fixture
def model():
    made = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    made[0].requires_grad_(False)
    return made


def test_engines_drain_take_all_weights_and_tell_what_arrived(model):
    engines = [Engine(), Engine()]
    WeightSync(Config(), model, engines).send(3)
    for engine in engines:
        assert engine.calls == ["begin_weight_update", "reload_weights", "finish_weight_update"]
        assert engine.names == [name for name, _ in model.named_parameters()], "a file is reloaded as a whole"


def test_a_trainable_weight_that_does_not_arrive_is_named(model):
    with pytest.raises(RuntimeError, match=r"engine 1 did not receive 1 weights: \['1.bias'\]"):
        WeightSync(Config(), model, [Engine(), Engine(loses="1.bias")]).send(1)


def test_a_frozen_weight_may_be_missing(model):
    WeightSync(Config(), model, [Engine(loses="0.bias")]).send(1)


@pytest.mark.parametrize("method", ["begin_weight_update", "reload_weights", "finish_weight_update"])
def test_the_death_of_an_engine_is_told_at_the_end_and_the_next_sync_begins_anew(model, method):
    engine = Engine(dies_in=method)
    made = WeightSync(Config(), model, [engine])
    with pytest.raises(SyncInterrupted):
        made.send(1)
    assert engine.calls[-1] == "finish_weight_update", "all ranks get to the end"
    assert ("reload_weights" in engine.calls) == (method != "begin_weight_update"), "nothing is sent to a dead engine"
    engine.dies_in = None
    made.send(1)


def test_the_machine_and_the_placement_choose_the_transport(monkeypatch):
    config, engines = Config(), EngineCalls([], ())
    assert type(make_transport(config, engines)).__name__ == "FileTransport"
    config.vllm.packed_weight_transfer = True
    with pytest.raises(ValueError, match="--vllm.packed_weight_transfer needs CUDA"):
        make_transport(config, engines)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert type(make_transport(config, engines)).__name__ == "PackedTransport"
    config.vllm.packed_weight_transfer = False
    assert type(make_transport(config, engines)).__name__ == "NcclTransport"
    config.train.colocate_all = True
    assert type(make_transport(config, engines)).__name__ == "CudaIpcTransport"
    config.train.async_enable = True
    assert type(make_transport(config, engines)).__name__ == "NcclTransport", "engines have GPUs of their own then"


def test_weights_are_the_parameters_by_name_or_the_trained_ones(model):
    assert [name for name, _ in PolicyWeights(model, 2)] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    trained = PolicyWeights(model, 2, only_trained=True)
    assert len(trained) == 2 and trained.trained == {"1.weight", "1.bias"}
    assert [tensor.data_ptr() for _, tensor in trained] == [model[1].weight.data_ptr(), model[1].bias.data_ptr()]

from __future__ import annotations

from pepo_rlhf.config import Config
from pepo_rlhf.config.reservations import required_gpus, shortfall


def sizes(policy, reference, engines, tensor_parallel=1, kl=0.001, lora_rank=0, **placement):
    config = Config()
    config.actor.num_gpus_per_node, config.ref.num_gpus_per_node = policy, reference
    config.vllm.num_engines, config.vllm.tensor_parallel_size = engines, tensor_parallel
    config.algo.kl.init_coef, config.ds.lora.rank = kl, lora_rank
    for name, value in placement.items():
        setattr(config.train, name, value)
    return config


def test_required_gpus_by_hand():
    assert required_gpus(sizes(2, 1, 3)) == 6
    assert required_gpus(sizes(2, 1, 3, kl=0)) == 5  # no reference is started
    assert required_gpus(sizes(4, 4, 2, tensor_parallel=2, colocate_actor_ref=True)) == 8
    assert required_gpus(sizes(8, 8, 8, colocate_all=True)) == 8
    assert required_gpus(sizes(8, 8, 2, colocate_all=True, async_enable=True)) == 10


def test_adapters_need_no_reference_but_one_that_is_asked_for():
    adapters = sizes(2, 1, 3, lora_rank=8)
    assert required_gpus(adapters) == 5
    adapters.ref.separate = True
    assert required_gpus(adapters) == 6
    assert required_gpus(sizes(4, 1, 2, lora_rank=8, colocate_actor_ref=True)) == 6


def test_models_that_share_gpus_need_a_pair_of_gpu_and_cpu_once():
    shared = sizes(2, 2, 2, colocate_all=True)
    assert shortfall(shared, [{"GPU": 2.0, "CPU": 2.0}]) is None
    assert "(policy, reference and rollout on the same 2;" in shortfall(shared, [{"GPU": 1.0, "CPU": 9.0}])


def test_gpus_without_a_cpu_on_their_node_do_not_count():
    separate = sizes(2, 1, 1)
    assert shortfall(separate, [{"GPU": 2.0, "CPU": 2.0}, {"GPU": 2.0, "CPU": 4.0}]) is None
    problem = shortfall(separate, [{"GPU": 2.0, "CPU": 1.0}, {"GPU": 2.0, "CPU": 4.0}])
    assert "reserves 4 GPUs with a CPU each (policy 2 + reference 1 + rollout 1;" in problem
    assert "of which 3 have a CPU" in problem

import pytest

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.runtime import cluster


def sizes(policy, reference, engines, tensor_parallel=1, kl=0.001, **placement):
    config = Config()
    config.actor.num_gpus_per_node, config.ref.num_gpus_per_node = policy, reference
    config.vllm.num_engines, config.vllm.tensor_parallel_size = engines, tensor_parallel
    config.algo.kl.init_coef = kl
    for name, value in placement.items():
        setattr(config.train, name, value)
    return to_arguments(config)


def test_a_users_variables_win(monkeypatch):
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    assert cluster.worker_environment(sizes(1, 1, 1))["NCCL_DEBUG"] == "INFO"


@pytest.mark.parametrize("trust", [True, False])
def test_trust_follows_the_flag_and_not_the_environment(monkeypatch, trust):
    monkeypatch.setenv(cluster.TRUST_REMOTE_CODE, "1")
    args = sizes(1, 1, 1)
    args.run.trust_remote_code = trust
    assert cluster.worker_environment(args)[cluster.TRUST_REMOTE_CODE] == ("1" if trust else "0")

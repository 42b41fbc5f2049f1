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


def test_a_local_cluster_opens_no_dashboard(monkeypatch):
    class Started(Exception):
        pass

    def init(**options):
        assert not options["include_dashboard"]
        assert options["dashboard_host"] == "127.0.0.1"
        raise Started

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(sizes(1, 1, 1))


def test_a_submitted_job_takes_the_cluster_as_it_is(monkeypatch):
    class Started(Exception):
        pass

    def init(**options):
        assert set(options) == {"runtime_env"}
        raise Started

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(sizes(1, 1, 1))

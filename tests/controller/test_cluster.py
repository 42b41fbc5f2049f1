import pytest

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.controller import cluster


def test_a_users_variables_win(monkeypatch):
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    assert cluster.worker_environment(to_arguments(Config()))["NCCL_DEBUG"] == "INFO"


@pytest.mark.parametrize("trust", [True, False])
def test_trust_follows_the_flag_and_not_the_environment(monkeypatch, trust):
    monkeypatch.setenv(cluster.TRUST_REMOTE_CODE, "1")
    args = to_arguments(Config())
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
        cluster.connect(to_arguments(Config()))


def test_a_submitted_job_takes_the_cluster_as_it_is(monkeypatch):
    class Started(Exception):
        pass

    def init(**options):
        assert set(options) == {"runtime_env"}
        raise Started

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(to_arguments(Config()))


def test_a_driver_without_a_gpu_makes_no_cpu_workers_of_a_clusters_nodes(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(cluster.cpu, "machine_has_gpu", lambda: False)
    variables = cluster.worker_environment(to_arguments(Config()))
    assert not {*cluster.cpu.ENVIRONMENT, "OMP_NUM_THREADS"} & variables.keys()


@pytest.mark.parametrize(("has_gpu", "num_gpus"), [(True, None), (False, 2)])
def test_gpus_are_made_up_only_where_there_are_none(monkeypatch, has_gpu, num_gpus):
    class Started(Exception):
        pass

    def init(**options):
        assert options.get("num_gpus") == num_gpus
        raise Started

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster.cpu, "machine_has_gpu", lambda: has_gpu)
    monkeypatch.setattr(cluster, "required_gpus", lambda args: 2)
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(to_arguments(Config()))

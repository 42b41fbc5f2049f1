import pytest

from pepo_rlhf.compat import cpu
from pepo_rlhf.compat.environment import worker_environment
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE


def test_a_users_variables_win(monkeypatch):
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    assert worker_environment(1, False)["NCCL_DEBUG"] == "INFO"


@pytest.mark.parametrize("trust", [True, False])
def test_trust_follows_the_flag_and_not_the_environment(monkeypatch, trust):
    monkeypatch.setenv(TRUST_REMOTE_CODE, "1")
    assert worker_environment(1, trust)[TRUST_REMOTE_CODE] == ("1" if trust else "0")


def test_a_driver_without_a_gpu_makes_no_cpu_workers_of_a_clusters_nodes(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(cpu, "machine_has_gpu", lambda: False)
    variables = worker_environment(1, False)
    assert not {*cpu.ENVIRONMENT, "OMP_NUM_THREADS"} & variables.keys()

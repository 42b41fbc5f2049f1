import socket

import pytest

from pepo_rlhf.config import Config
from pepo_rlhf.controller import cluster


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
        cluster.connect(Config())


def test_a_submitted_job_takes_the_cluster_as_it_is(monkeypatch):
    class Started(Exception):
        pass

    def init(**options):
        assert set(options) == {"runtime_env", "log_to_driver"} and not options["log_to_driver"]
        raise Started

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(Config())


@pytest.mark.parametrize(("has_gpu", "num_gpus"), [(True, None), (False, 2)])
def test_gpus_are_made_up_only_where_there_are_none(monkeypatch, has_gpu, num_gpus):
    class Started(Exception):
        pass

    def init(**options):
        assert options.get("num_gpus") == num_gpus
        raise Started

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cluster.cpu, "machine_has_gpu", lambda: has_gpu)
    monkeypatch.setattr(cluster, "required_gpus", lambda config: 2)
    monkeypatch.setattr(cluster.ray, "init", init)
    with pytest.raises(Started):
        cluster.connect(Config())


def test_an_address_that_accepts_and_never_answers_ends_in_one_line(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 0.5)
        with pytest.raises(ValueError, match=f"^RAY_ADDRESS {address} does not answer within 0.5 s: start the cluster"):
            cluster.connect(Config())

"""Real Ray actors that die; the engines behind them are stand-ins."""

import os
import signal
import time
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError

from pepo_rlhf.controller.recovery import EngineLost, EngineRecovery, SyncInterrupted


def engine_class():
    """Made here, so that Ray sends the class itself: its workers know no test modules."""

    class Engine:
        """Answers with the number of the weights that it has. Restarted, it has those of the beginning."""

        def __init__(self, number, deaths, log):
            self.number, self.log, self.weights, self.engine_is_dead = number, log, 0, False
            self.deaths = deaths  # prompt -> how it dies when it is asked this for the first time

        def check_health(self):
            if self.engine_is_dead:
                from vllm.v1.engine.exceptions import EngineDeadError  # takes a while, and only one test needs it

                raise EngineDeadError
            return ray.get_runtime_context().get_worker_id()

        def answer(self, prompt):
            with open(self.log, "a") as file:
                file.write(f"{prompt}\n")
            first_time = Path(self.log).read_text().split().count(str(prompt)) == 1
            if first_time and self.deaths.get(prompt) == "process":
                os.kill(os.getpid(), signal.SIGKILL)
            if first_time and self.deaths.get(prompt) == "engine":
                self.engine_is_dead = True
            self.check_health()
            return prompt, self.weights

        def take(self, weights):
            self.weights = weights

    return Engine


class Policy:
    """Stands for the group of policy actors, with weights number 7."""

    def __init__(self, engines):
        self.engines, self.calls = engines, []

    def async_run_method(self, method_name):
        self.calls.append(method_name)
        return [engine.take.remote(7) for engine in self.engines] if method_name == "broadcast_to_vllm" else []


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def recovery(tmp_path, deaths, max_restarts):
    """Two engines, the second of which dies; both have weights 7."""
    engine = ray.remote(engine_class()).options(max_restarts=max_restarts, num_cpus=1)
    log = str(tmp_path / "log")
    engines = [engine.remote(0, {}, log), engine.remote(1, deaths, log)]
    ray.get([one.take.remote(7) for one in engines])
    made = EngineRecovery(engines)
    made.policy = Policy(engines)
    return made


def kill_and_wait(engine):
    """Kills it and waits until another process answers: Ray tells of a kill some time after it."""
    before = ray.get(engine.check_health.remote())
    ray.kill(engine, no_restart=False)
    while True:
        try:
            if ray.get(engine.check_health.remote()) != before:
                return
        except RayActorError:
            time.sleep(0.1)


def answers(made, num_prompts=6):
    return made.collect(lambda prompt: made.engines[prompt % 2].answer.remote(prompt), num_prompts)


@pytest.mark.parametrize("death", ["process", "engine"])
def test_what_a_dead_engine_was_asked_is_asked_again_under_the_current_weights(tmp_path, death):
    made = recovery(tmp_path, {3: death}, max_restarts=1)
    assert answers(made) == [(prompt, 7) for prompt in range(6)], "each once, in order, none with the first weights"
    assert made.num_restarts == 1
    assert made.policy.calls == ["rejoin_engines", "broadcast_to_vllm"]
    asked = (tmp_path / "log").read_text().split()
    assert [asked.count(str(prompt)) for prompt in (0, 2, 4)] == [1, 1, 1], "the other engine's answers are kept"


def test_nothing_is_sent_or_counted_while_all_live(tmp_path):
    made = recovery(tmp_path, {}, max_restarts=1)
    assert answers(made) == [(prompt, 7) for prompt in range(6)]
    made.restart_dead()
    assert (made.num_restarts, made.policy.calls) == (0, [])


def test_an_engine_that_may_not_be_restarted_ends_the_run_by_name(tmp_path):
    made = recovery(tmp_path, {3: "process"}, max_restarts=0)
    with pytest.raises(EngineLost, match="rollout engine 1 died more often than --vllm.max_restarts"):
        answers(made)


def test_a_sync_in_which_an_engine_dies_is_made_again(tmp_path):
    made = recovery(tmp_path, {}, max_restarts=1)
    made.restart_dead()
    attempts = []

    def broadcast():
        attempts.append(1)
        if len(attempts) == 1:
            kill_and_wait(made.engines[1])
            raise SyncInterrupted
        ray.get([engine.take.remote(8) for engine in made.engines])

    made.send_weights(broadcast)
    assert (len(attempts), made.num_restarts) == (2, 1)
    assert answers(made) == [(prompt, 8) for prompt in range(6)]

"""Real Ray actors that die; the engines behind them are stand-ins."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError

from pepo_rlhf.controller.engines import EngineDied, EngineLost, Engines
from pepo_rlhf.weight_sync.sync import SyncInterrupted


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

        def wake_up(self, tags=None):
            with open(self.log, "a") as file:
                file.write(f"wake_up{tags or ''}\n")

        def sleep(self):
            with open(self.log, "a") as file:
                file.write("sleep\n")

    return Engine


class Policy:
    """Stands for the group of policy actors, whose weights are the version that they are sent as."""

    def __init__(self, engines, interruptions=()):
        self.engines, self.calls, self.interruptions = engines, [], list(interruptions)

    def async_run_method(self, method_name, *args):
        self.calls.append(method_name)
        if method_name != "send_weights":
            return []
        if self.interruptions:
            self.interruptions.pop()()
            raise SyncInterrupted
        return [engine.take.remote(*args) for engine in self.engines]


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def make(tmp_path, deaths, max_restarts, sleeps=False):
    """Two engines, the second of which dies; both have weights 7."""
    engine = ray.remote(engine_class()).options(max_restarts=max_restarts, num_cpus=1)
    log = str(tmp_path / "log")
    handles = [engine.remote(0, {}, log), engine.remote(1, deaths, log)]
    ray.get([one.take.remote(7) for one in handles])
    return Engines(handles, Policy(handles), sleeps, max_restarts)


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


def ask(engines, answers):
    indices = [index for index in range(6) if index not in answers]
    engines.collect(lambda prompt: engines.of_prompt(prompt).answer.remote(prompt), indices, answers)


@pytest.mark.parametrize("death", ["process", "engine"])
def test_what_a_dead_engine_was_asked_is_asked_again_under_the_current_weights(tmp_path, death, caplog):
    engines, answers = make(tmp_path, {3: death}, max_restarts=1), {}
    engines.insist(lambda: ask(engines, answers), version=8)
    first = [(prompt, 7) for prompt in (0, 2, 4)]
    assert [answers[prompt] for prompt in (0, 2, 4)] == first, "the other engine's answers are kept"
    assert answers[3] == (3, 8) and {answers[prompt][1] for prompt in (1, 5)} <= {7, 8}, "none with the first weights"
    assert engines.num_restarts == 1
    lines = [record.message for record in caplog.records]
    assert len(lines) == 1 and re.fullmatch(
        r"rollout engine 1 died, restarting it \(1 of 1\); its [123] prompts are asked again", lines[0]
    )
    assert engines.policy.calls == ["reconnect_engines", "send_weights"]


def test_in_a_thread_a_death_is_told_and_the_policy_left_alone(tmp_path):
    engines, answers = make(tmp_path, {3: "engine"}, max_restarts=1), {}
    with pytest.raises(EngineDied):
        ask(engines, answers)
    assert {0, 2, 4} <= answers.keys() and 3 not in answers
    assert engines.policy.calls == []


def test_an_engine_that_was_restarted_unseen_is_asked_nothing_before_it_has_weights(tmp_path):
    engines, answers = make(tmp_path, {}, max_restarts=1), {}
    kill_and_wait(engines.handles[1])
    with pytest.raises(EngineDied):
        ask(engines, answers)
    assert answers == {}
    engines.insist(lambda: ask(engines, answers), version=7)
    assert answers == {prompt: (prompt, 7) for prompt in range(6)}


def test_nothing_is_sent_or_counted_while_all_live(tmp_path):
    engines, answers = make(tmp_path, {}, max_restarts=1), {}
    engines.insist(lambda: ask(engines, answers), version=8)
    assert answers == {prompt: (prompt, 7) for prompt in range(6)}
    assert (engines.num_restarts, engines.policy.calls) == (0, [])


def test_an_engine_that_may_not_be_restarted_ends_the_run_by_name(tmp_path):
    engines = make(tmp_path, {3: "process"}, max_restarts=0)
    with pytest.raises(EngineLost, match="rollout engine 1 died more often than --vllm.max_restarts"):
        engines.insist(lambda: ask(engines, {}), version=7)


def test_a_sync_in_which_an_engine_dies_is_made_again(tmp_path):
    engines = make(tmp_path, {}, max_restarts=1)
    engines.policy.interruptions.append(lambda: kill_and_wait(engines.handles[1]))
    engines.send_weights(8)
    assert (engines.num_restarts, engines.weights_version) == (1, 8)
    assert engines.policy.calls == ["send_weights", "reconnect_engines", "send_weights"]
    answers = {}
    ask(engines, answers)
    assert answers == {prompt: (prompt, 8) for prompt in range(6)}


def test_engines_that_sleep_wake_for_prompts_and_take_weights_before_the_rest_of_their_memory(tmp_path):
    engines = make(tmp_path, {}, max_restarts=0, sleeps=True)
    with engines.awake():
        pass
    engines.send_weights(8)
    expected = ["wake_up"] * 2 + ["sleep"] * 2 + ["wake_up['weights']"] * 2
    assert (tmp_path / "log").read_text().split() == expected

"""Verifiers that misbehave, in real processes: each costs one response, and the next one is graded right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from pepo_rlhf.config.learning import Reward
from pepo_rlhf.rewards import Grade, RewardError, RewardService

GOOD = "<think>30 + 50</think><answer>80</answer>"


def start(*functions: str, **settings: Any) -> RewardService:
    defaults: dict[str, Any] = {"num_processes": 1, "timeout_seconds": 1, "memory_mb": 256}
    return RewardService(Reward(functions=[*functions], **defaults | settings))


def graders(path: Path) -> set[int]:
    """Ids of the processes that live and run verifiers of the file or folder."""
    return {
        process.info["pid"]
        for process in psutil.process_iter(["pid", "cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and "pepo_rlhf.rewards.grader" in (process.info["cmdline"] or [])
        and any(str(path) in word for word in process.info["cmdline"])
    }


@pytest.fixture(scope="module")
def service(odd_file: Path) -> Iterator[RewardService]:
    with closing(start("format", "accuracy", f"{odd_file}:odd", weights={"accuracy": 2.0, "odd": 0.5})) as service:
        yield service


def test_components_are_apart_and_their_weighted_sum_is_the_reward(service: RewardService) -> None:
    assert service.submit(GOOD, "80").result() == Grade({"format": 1.0, "accuracy": 1.0, "odd": 1.0}, 3.5)
    assert service.submit(GOOD, "81").result() == Grade({"format": 1.0, "accuracy": 0.0, "odd": 1.0}, 1.5)


@pytest.mark.parametrize(
    ("misbehaviour", "headline"),
    [
        ("hang", "no result within 1 s"),
        ("hang_in_c", "no result within 1 s"),
        ("hang_in_a_child", "no result within 1 s"),
        ("raise_error", "ZeroDivisionError: division by zero raised by the reward component 'odd'"),
        ("return_no_number", "ValueError: 'high' is not a finite number raised by the reward component 'odd'"),
        ("eat_memory", "MemoryError raised by the reward component 'odd'"),
        ("hoard_memory", "MemoryError raised by the reward component 'odd'"),
        ("leave", "SystemExit: 3 raised by the reward component 'odd'"),
        ("die", "the grader process ended with exit status 3"),
        ("crash", "the grader process was killed by SIGSEGV"),
    ],
)
def test_misbehaviour_is_an_error_of_its_response_alone(
    service: RewardService, misbehaviour: str, headline: str
) -> None:
    failed, following = service.submit(misbehaviour, "80"), service.submit(GOOD, "80")
    assert failed.result().headline == headline
    assert failed.result()[:2] == ({"format": 0.0, "accuracy": 0.0, "odd": 0.0}, 0.0)
    assert following.result() == Grade({"format": 1.0, "accuracy": 1.0, "odd": 1.0}, 3.5)


def test_a_wrong_answer_is_no_error(service: RewardService) -> None:
    assert service.submit("no tags", "80").result().error is None


def test_the_error_of_a_users_function_is_its_traceback(service: RewardService, odd_file: Path) -> None:
    error = service.submit("raise_error", "80").result().error
    assert error is not None
    assert str(odd_file) in error
    assert "return 1 / 0" in error


@pytest.mark.parametrize(
    "response", ["line\nbreak\r\n\u2028 and \x00", "\ud800", "x" * 2**20], ids=["lines", "half", "long"]
)
def test_any_text_reaches_the_verifiers(service: RewardService, response: str) -> None:
    assert service.submit(response + GOOD, "80").result().reward == 3.5


def test_verifiers_may_print_and_find_no_input(odd_file: Path) -> None:
    with closing(start(f"{odd_file}:noisy")) as service:
        assert [service.submit("a", "b").result().reward for _ in range(2)] == [1.0, 1.0]


def test_processes_work_side_by_side_and_end_with_the_service(odd_file: Path) -> None:
    before = graders(odd_file)
    # Seconds that five answers do not take on a busy machine either.
    service = start(f"{odd_file}:process_id", f"{odd_file}:odd", num_processes=2, timeout_seconds=5)
    hanging = service.submit("hang", "80")
    answers = [service.submit(GOOD, "80") for _ in range(5)]
    assert len({answer.result().components["process_id"] for answer in answers}) == 1
    assert not hanging.done(), "the other process waits for nobody"
    deadline = time.monotonic() + 30  # on a busy machine the other one may not have got to its own program yet
    while len(graders(odd_file) - before) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(graders(odd_file) - before) == 2
    service.close()
    assert hanging.result().headline == "no result within 5 s"
    assert graders(odd_file) == before


def test_what_a_verifier_started_ends_with_its_process(odd_file: Path) -> None:
    before = graders(odd_file)
    with closing(start(f"{odd_file}:odd")) as service:
        service.submit("hang_in_a_child", "80").result()
        assert graders(odd_file) == before


def test_what_has_left_for_a_session_of_its_own_ends_too(tmp_path: Path) -> None:
    """Also where the process between, which started it, has ended."""
    (tmp_path / "mine.py").write_text(
        "import subprocess, sys\n"
        "SLEEP = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "START = f'import subprocess; subprocess.Popen({SLEEP}, start_new_session=True)'\n"
        "def mine(response, label):\n"
        "    subprocess.Popen(SLEEP, start_new_session=True)\n"
        "    subprocess.run([sys.executable, '-c', START], check=True)\n"
        "    return 1.0\n"
    )
    service = start(f"{tmp_path}/mine.py:mine", timeout_seconds=30)
    assert service.submit("a", "b").result().reward == 1.0
    (grader,) = graders(tmp_path)
    children = psutil.Process(grader).children(recursive=True)
    service.close()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_errors_do_not_tell_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    (tmp_path / "mine.py").write_text(
        "import os\ndef mine(response, label):\n    raise ValueError(f'{os.environ[\"HF_TOKEN\"]} is refused')\n"
    )
    with closing(start(f"{tmp_path}/mine.py:mine")) as service:
        error = service.submit("a", "b").result().error
    assert error is not None and "hf_0123456789" not in error and "ValueError: *** is refused" in error


def test_a_file_that_does_not_load_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    (tmp_path / "mine.py").write_text("import os\nraise ValueError(os.environ['HF_TOKEN'])\n")
    with pytest.raises(RewardError, match=r"ValueError: \*\*\*"):
        start(f"{tmp_path}/mine.py:mine")


def test_a_hanging_grader_does_not_outlive_a_killed_parent(odd_file: Path) -> None:
    code = f"""
from pepo_rlhf.config.learning import Reward
from pepo_rlhf.rewards import RewardService
service = RewardService(Reward(functions=["{odd_file}:odd"], num_processes=1, timeout_seconds=60, memory_mb=256))
grading = service.submit("hang_in_c", "80")
print("started", flush=True)
grading.result()  # at the end of the program the grader would be ended
"""
    before = graders(odd_file)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "started\n"
    assert len(graders(odd_file) - before) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 5
    while graders(odd_file) != before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "the grader process ended with exit status 3"),
        ("", "has no function 'mine'"),
    ],
)
def test_functions_that_do_not_load_are_told_at_once(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(RewardError, match=f"(?s)the rewards do not load: .*{message}"):
        start(f"{tmp_path}/mine.py:mine")
    assert graders(tmp_path) == set()


def test_what_a_file_loads_is_on_top_of_the_memory_limit(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "data = bytearray(512 * 2**20)\ndef mine(response, label):\n    return len(bytearray(64 * 2**20))\n"
    )
    with closing(start(f"{tmp_path}/mine.py:mine")) as service:
        assert service.submit("a", "b").result().reward == 64 * 2**20

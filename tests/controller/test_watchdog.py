import signal
import time

import pytest

from pepo_rlhf.controller.watchdog import Stalled, Watchdog


@pytest.fixture(autouse=True)
def handler():
    """Puts back what handled the signal before."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_phase_that_does_not_end_is_named_and_interrupted():
    message = r"update, step 3 has not ended within --run.stall_timeout 0.3 s"
    with pytest.raises(Stalled, match=message), Watchdog(0.3) as watchdog:
        watchdog.enter("update, step 3")
        time.sleep(20)


def test_phases_that_end_in_time_are_left_alone():
    with Watchdog(0.6) as watchdog:
        for step in range(6):
            watchdog.enter(f"step {step}")
            time.sleep(0.2)
    time.sleep(0.8)

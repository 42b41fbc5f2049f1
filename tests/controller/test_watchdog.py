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


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_waits_in_ray_is_interrupted_as_by_ctrl_c(wrapped):
    """`ray.get` lets KeyboardInterrupt alone through, made anew, and `ray.wait` hides it in a SystemError."""
    with pytest.raises(Stalled, match="update, step 3"), Watchdog(0.3) as watchdog:
        watchdog.enter("update, step 3")
        try:
            time.sleep(20)
        except KeyboardInterrupt as interrupt:
            if wrapped:
                raise SystemError("returned a result with an exception set") from interrupt
            raise KeyboardInterrupt from None


def test_what_ends_a_run_otherwise_stays_as_it_is():
    with pytest.raises(KeyboardInterrupt), Watchdog(20):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="mine"), Watchdog(20):
        raise ValueError("mine")


def test_phases_that_end_in_time_are_left_alone():
    with Watchdog(0.6) as watchdog:
        for step in range(6):
            watchdog.enter(f"step {step}")
            time.sleep(0.2)
    time.sleep(0.8)

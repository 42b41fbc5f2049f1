from ray.exceptions import RayTaskError

from pepo_rlhf.pipeline.failures import explain
from pepo_rlhf.runtime.checkpoints import CheckpointError
from pepo_rlhf.runtime.watchdog import Stalled


def in_a_task(cause):
    """As Ray raises it in the process that asked."""
    return RayTaskError("fit", "a long traceback", cause).as_instanceof_cause()


def test_the_error_of_a_process_behind_a_process_is_one_line():
    nested = in_a_task(in_a_task(CheckpointError("the disk is full:\n  make room")))
    assert explain(nested) == "the disk is full:; make room"
    assert explain(Stalled("update has not ended")) == "update has not ended"


def test_what_a_signal_handler_raises_while_ray_waits():
    try:
        raise SystemError("<cyfunction CoreWorker.wait> returned a result with an exception set") from Stalled("update")
    except SystemError as error:
        assert explain(error) == "update"
    assert explain(SystemError("of its own")) is None


def test_programming_errors_keep_their_traceback():
    assert explain(in_a_task(ZeroDivisionError("division by zero"))) is None

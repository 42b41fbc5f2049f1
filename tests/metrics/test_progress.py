import io

import pytest
from rich.console import Console

from pepo_rlhf.metrics.progress import ProgressBar


def screen_of_a_run(terminal):
    """What is shown of a run that goes on after step 3 and makes three more steps and an evaluation."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    bar = ProgressBar(6, shown=("reward", "accuracy"), console=console)
    for step in (4, 5, 6):
        bar.log({"global_step": step, "reward": step / 4, "kl": 0.1}, step=step)
    bar.log({"global_step": 6, "eval_accuracy": 0.5}, step=6)
    bar.finish()
    return screen.getvalue()


def test_a_terminal_sees_the_last_step():
    shown = screen_of_a_run(terminal=True)
    assert "6/6" in shown and "reward 1.50" in shown and "kl" not in shown


@pytest.mark.parametrize("terminal", [False])
def test_a_log_gets_no_bar(terminal):
    assert screen_of_a_run(terminal) == ""

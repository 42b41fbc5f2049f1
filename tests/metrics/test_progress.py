import io
import json

from rich.console import Console

from pepo_rlhf.metrics.progress import last_record, show_progress


def follow(path, terminal):
    """What is shown of a run that has been continued after step 3 and makes three more steps."""
    screen = io.StringIO()
    steps = iter([4, 5, 6])

    def finished():
        step = next(steps)
        with path.open("a") as file:
            file.write(json.dumps({"global_step": step, "reward": step / 4}) + "\n")
        return step == 6

    path.write_text('{"global_step": 3, "reward": 0.75}\n')
    show_progress(path, 6, finished, Console(file=screen, force_terminal=terminal, width=100))
    return screen.getvalue()


def test_a_terminal_sees_the_last_step(tmp_path):
    shown = follow(tmp_path / "metrics.jsonl", terminal=True)
    assert "6/6" in shown and "reward 1.50" in shown


def test_a_log_gets_no_bar_and_the_run_is_followed_to_its_end(tmp_path):
    assert follow(tmp_path / "metrics.jsonl", terminal=False) == ""
    assert last_record(tmp_path / "metrics.jsonl")["global_step"] == 6


def test_a_line_that_is_still_being_written_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_record(path) == {}
    path.write_text('{"global_step": 1}\n{"global_step": 2}\n{"glob')
    assert last_record(path) == {"global_step": 2}

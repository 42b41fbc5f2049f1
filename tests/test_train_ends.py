"""How the train command tells the end of a run, whose body is a stand-in here."""

import signal
from types import SimpleNamespace

import pytest

from pepo_rlhf import train
from pepo_rlhf.checkpoints import folders
from pepo_rlhf.config import parse_arguments
from pepo_rlhf.controller import cluster, run, stop_request
from pepo_rlhf.controller.trainer import Stopped
from pepo_rlhf.controller.watchdog import Stalled

REQUIRED = ["--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]


@pytest.fixture
def end(tmp_path, monkeypatch, caplog, capfd):
    """End a run of two steps, with a checkpoint or not, by what `body` does; return exit code and lines."""
    config = parse_arguments([*REQUIRED, "--run.dir", str(tmp_path)])
    (tmp_path / "metrics.jsonl").write_text('{"global_step": 1, "reward": 0.5}\n{"global_step": 2, "reward": 1.0}\n')
    monkeypatch.setattr(cluster, "connect", lambda config: None)
    monkeypatch.setattr("pepo_rlhf.checks.storage.one_checkpoint_bytes", lambda inputs: 1)
    caplog.set_level("INFO", logger="pepo_rlhf")
    handlers = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def end(body, with_checkpoint):
        if with_checkpoint:
            checkpoint = tmp_path / "checkpoints" / "global_step2"
            folders.begin(checkpoint)
            states = folders.partial(checkpoint) / "states.pt"
            states.write_bytes(b"weights")
            folders.commit(checkpoint, {"states.pt": folders.seal(states)}, config)
        monkeypatch.setattr(run, "run", lambda *args: body(args[-1]))
        code = 0
        try:
            train.train(config, SimpleNamespace(training_rows=None, evaluation_rows=None), None)
        except SystemExit as exit:
            code = exit.code
        return code, capfd.readouterr().err + "\n".join(caplog.messages)

    yield end
    for name, handler in handlers.items():
        signal.signal(name, handler)


def interrupt(stop):
    raise KeyboardInterrupt


def interrupt_while_ray_waits(stop):
    raise SystemError("<cyfunction CoreWorker.wait> returned a result with an exception set") from KeyboardInterrupt()


def stall(stop):
    raise Stalled("update, step 3 has not ended")


def fail(stop):
    raise ZeroDivisionError("division by zero")


def ask_by(reason):
    def stop_after_step(stop):
        attempt = stop_request.running_attempt(stop._path.parent)
        stop_request.ask(stop._path.parent, reason, attempt)
        assert stop.is_set()
        raise Stopped("after step 2")

    return stop_after_step


@pytest.mark.parametrize("with_checkpoint", [True, False])
@pytest.mark.parametrize(
    ("body", "expected_code", "text"),
    [
        (interrupt, 130, "interrupted after step 2; "),
        (interrupt_while_ray_waits, 130, "interrupted after step 2; "),
        (ask_by("user"), 0, "stopped after step 2 (user); "),
        (ask_by("preempted"), 143, "stopped after step 2 (preempted); "),
        (stall, 1, "error: update, step 3 has not ended; "),
        (fail, 1, "ZeroDivisionError: division by zero\nerror: the run ends; "),
    ],
)
def test_an_end_says_what_the_same_command_will_do(end, tmp_path, with_checkpoint, body, expected_code, text):
    code, lines = end(body, with_checkpoint)
    goes_on = f"the same command goes on from {tmp_path / 'checkpoints' / 'global_step2'}"
    anew = "there is no checkpoint: the same command begins anew, and sets these steps aside"
    assert code == expected_code
    assert f"{text}{goes_on if with_checkpoint else anew}" in lines
    assert ("Traceback" in lines) == (body is fail)


def test_a_run_to_the_end_names_its_result_model_and_report(end, tmp_path):
    code, lines = end(lambda stop: None, with_checkpoint=False)
    assert code == 0 and "done after step 2; this command took 0 min " in lines
    assert "reward 0.500 in the first quarter, 1.000 in the last" in lines
    assert f"model   {tmp_path / 'model'}" in lines and f"python -m pepo_rlhf.report {tmp_path}" in lines

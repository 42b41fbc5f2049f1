"""Runs that are killed and started again by the same command."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import peft
import psutil
import pytest
import torch
import transformers

from pepo_rlhf.checks.rewards import respond
from pepo_rlhf.data.labels import right_answer

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "examples" / "geometry3k_cpu.yaml"
PROMPTS, SAMPLES = 2, 4  # of a step, in CONFIG
RECORDER = """
import json
from pathlib import Path

def record(response, label):
    with Path(__file__).with_suffix(".jsonl").open("a") as file:
        file.write(json.dumps([label, response]) + "\\n")
    return len(set(response)) / 100
"""


def start(model, problems, folder, *flags):
    """A run in `folder`/run. Its verifier notes label and response of everything generated, and rewards variety."""
    (folder / "verifier.py").write_text(RECORDER)
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(CONFIG)]
    command += ["--actor.model_name_or_path", str(model), "--data.prompt_dataset", str(problems)]
    command += ["--reward.functions", f"[format, accuracy, '{folder / 'verifier.py'}:record']"]
    command += ["--run.dir", str(folder / "run"), *flags]
    log = (folder / "log.txt").open("a")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)


def wait_for(condition, process, seconds=400):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run has ended early"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill_when(condition, process, folder):
    """SIGKILL to the command and to everything that it has started, as soon as the condition holds."""
    wait_for(lambda: steps(folder), process)  # all have been started, and who they are is known when the moment comes
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    wait_for(condition, process)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)
    process.wait(timeout=30)


def steps(folder, name="global_step"):
    path = folder / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)[name] for line in lines if line.endswith("\n")]


def checkpoint(folder, step):
    return folder / "run" / "checkpoints" / f"global_step{step}"


def half_written(folder, step):
    return checkpoint(folder, step).with_name(f"global_step{step}.partial").exists()


def take_records(folder):
    """Counts of (label, response), one Counter a step, since the last call; of a step cut short, what there is."""
    path = folder / "verifier.jsonl"
    records = [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    # The checks before a run grade the right answers of some rows.
    records = [(label, response) for label, response in records if response != respond(right_answer(label))]
    path.unlink()
    size = PROMPTS * SAMPLES
    return [Counter(records[i : i + size]) for i in range(0, len(records), size)]


def labels(step_records):
    return Counter(label for label, _ in step_records.elements())


def states(folder, step):
    """Everything in the checkpoint that the next step depends on, by file."""
    found = checkpoint(folder, step)
    return {
        path.name: torch.load(path, weights_only=False, map_location="cpu")
        for path in [*found.glob("deepspeed/*.pt"), found / "random_0.pt"]
    }


def flat(value):
    if isinstance(value, dict):
        return [leaf for key in sorted(value, key=str) for leaf in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value] if isinstance(value, (torch.Tensor, int, float, str)) else []


def same_bits(left, right):
    pairs = list(zip(flat(left), flat(right), strict=True))
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_a_run_killed_in_a_checkpoint_goes_on_from_the_one_before_and_stops_when_asked(tiny_model, problems, tmp_path):
    flags = ["--ckpt.save_steps", "1", "--train.num_episodes", "100"]
    process = start(tiny_model, problems, tmp_path, *flags)
    kill_when(lambda: half_written(tmp_path, 2), process, tmp_path)
    assert not checkpoint(tmp_path, 2).exists(), "killed too late to test anything"
    assert steps(tmp_path) == [1, 2]

    process = start(tiny_model, problems, tmp_path, *flags, "--ckpt.save_steps", "1000", "--ckpt.resume", "must")
    wait_for(lambda: len(steps(tmp_path)) >= 3, process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    log = (tmp_path / "log.txt").read_text()
    assert process.returncode == 143, log[-4000:]
    assert "the run goes on from" in log and "global_step1\n" in log
    done = steps(tmp_path)
    assert done == list(range(1, len(done) + 1)), "no step twice"
    assert checkpoint(tmp_path, done[-1]).exists(), "SIGTERM writes a checkpoint where none was due"


EPISODES = ["--data.max_samples", "6", "--train.num_episodes", "2", "--ckpt.save_steps", "2"]  # two, of three steps
MOMENTS = {  # of the kill -> the checkpoint that is then the newest
    "after step 3": 2,
    "in the checkpoint of step 4": 2,
    "after step 5": 4,
}


def run_to_the_end(model, problems, folder, *flags):
    process = start(model, problems, folder, *EPISODES, *flags)
    assert process.wait(timeout=400) == 0, (folder / "log.txt").read_text()[-4000:]
    assert steps(folder) == [1, 2, 3, 4, 5, 6], "no step twice, none missing"
    assert min(steps(folder, "actor_grad_norm")) > 0.01, "there is something that a resume could lose"
    return take_records(folder)


def kill_at(moment, model, problems, folder, *flags):
    process = start(model, problems, folder, *EPISODES, *flags)
    if moment.startswith("after step"):
        kill_when(lambda: len(steps(folder)) == int(moment[-1]), process, folder)
    else:
        kill_when(lambda: half_written(folder, 4), process, folder)
    found = max(step for step in (2, 4, 6) if checkpoint(folder, step).exists())
    assert found == MOMENTS[moment], "killed too late"
    take_records(folder)


def compare(whole, expected, killed, seen, resumed_at):
    """What a resumed run did against what one left alone did; prints the share of identical responses."""
    expected = expected[resumed_at:]
    assert [labels(step) for step in seen] == [labels(step) for step in expected], "the same prompts, in the same order"
    num_identical = sum((a & b).total() for a, b in zip(seen, expected, strict=True))
    num_responses = sum(step.total() for step in expected)
    print(f"\nresumed after step {resumed_at}: {num_identical} of {num_responses} responses are identical")
    assert num_identical > 0.5 * num_responses, "seeds do not depend on what was generated before"
    for step in (4, 6):
        theirs = states(killed, step)
        equal = {name: same_bits(value, theirs[name]) for name, value in states(whole, step).items()}
        print(f"after step {step}, equal to the last bit: {equal}")
        if num_identical == num_responses:
            assert all(equal.values()), (step, equal)


@pytest.fixture(scope="module")
def whole(tiny_model, problems, tmp_path_factory):
    """A run that nobody kills: its folder, and its records."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run_to_the_end(tiny_model, problems, folder)


@pytest.mark.full
def test_each_prompt_is_trained_once_an_episode(whole):
    _, records = whole
    for episode in (records[:3], records[3:]):
        trained = sum((labels(step) for step in episode), Counter())
        assert len(trained) == 6 and set(trained.values()) == {SAMPLES}


@pytest.mark.full
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.usefixtures("no_process_left")
def test_a_killed_run_does_what_one_left_alone_does(whole, tiny_model, problems, tmp_path, moment):
    """In the first episode, while a checkpoint is written, and in the second episode."""
    kill_at(moment, tiny_model, problems, tmp_path)
    seen = run_to_the_end(tiny_model, problems, tmp_path)
    compare(*whole, tmp_path, seen, resumed_at=MOMENTS[moment])


@torch.no_grad()
def logits(path, base=None):
    """Of some text, by a model or by adapters on a base model."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(base or path, dtype=torch.float32)
    if base is not None:
        model = peft.PeftModel.from_pretrained(model, path)
    return model(input_ids=torch.arange(10, 60)[None]).logits


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("no_process_left")
def test_adapters_go_on_from_checkpoints_that_hold_nothing_else(tiny_model, problems, tmp_path):
    flags = ["--ds.lora.rank", "4", "--actor.adam.lr", "1e-2", "--ckpt.save_merged", "--ckpt.save_hf"]
    for folder in (whole := tmp_path / "whole", killed := tmp_path / "killed"):
        folder.mkdir()
    run_to_the_end(tiny_model, problems, whole, *flags)
    kill_at("after step 5", tiny_model, problems, killed, *flags)
    run_to_the_end(tiny_model, problems, killed, *flags)
    for step in (4, 6):
        theirs = states(killed, step)
        assert all(same_bits(value, theirs[name]) for name, value in states(whole, step).items()), step
    assert steps(whole, "kl")[0] == 0 < steps(whole, "kl")[-1], "the policy without its adapters is the reference"
    saved = torch.load(checkpoint(whole, 6) / "deepspeed" / "mp_rank_00_model_states.pt", weights_only=False)
    assert all(".lora_" in name for name in saved["module"])
    base, merged = logits(tiny_model), logits(whole / "run" / "model")
    assert (merged - base).abs().max() > 0.1
    assert logits(f"{checkpoint(whole, 6)}_hf").equal(merged)
    for adapter in (whole / "run" / "adapter", checkpoint(whole, 6) / "adapter"):
        torch.testing.assert_close(logits(adapter, tiny_model), merged, atol=1e-4, rtol=1e-4)


@pytest.mark.full
@pytest.mark.timeout(1000)
@pytest.mark.usefixtures("no_process_left")
def test_two_ranks_go_on(tiny_model, problems, tmp_path):
    flags = ["--actor.num_gpus_per_node", "2", "--ref.num_gpus_per_node", "2", "--train.micro_batch_size", "2"]
    flags += ["--ckpt.save_steps", "1"]
    process = start(tiny_model, problems, tmp_path, *flags)
    kill_when(lambda: len(steps(tmp_path)) == 3, process, tmp_path)
    assert (checkpoint(tmp_path, 2) / "random_1.pt").exists()
    process = start(tiny_model, problems, tmp_path, *flags, "--ckpt.resume", "must")
    assert process.wait(timeout=400) == 0, (tmp_path / "log.txt").read_text()[-4000:]
    assert steps(tmp_path) == [1, 2, 3, 4]
    assert not checkpoint(tmp_path, 1).exists(), "three are kept"

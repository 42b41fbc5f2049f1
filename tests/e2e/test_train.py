"""The main job as its users start it: a process of its own, real Ray actors, vLLM and DeepSpeed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pepo_rlhf.metrics.token_records import read_steps
from pepo_rlhf.report.reweight import load_batches, sweep

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "examples" / "geometry3k_cpu.yaml"
METRICS = [
    "global_step",
    "reward",
    "accuracy",
    "format",
    "response_length",
    "truncated",
    "kl",
    "ppo_clip_ratio",
    "entropy",
    "similarity_min",
    "similarity_max",
    "weight_min",
    "weight_p20",
    "weight_p50",
    "weight_p80",
    "weight_max",
    "weight_entropy_corr",
    "progress",
    "rollout_trainer_gap",
    "zero_std_groups",
    "time_generation",
    "time_experience",
    "time_update",
    "time_sync",
    "time_step",
]


def start(model, problems, run_dir, *flags):
    command = [sys.executable, "-m", "pepo_rlhf.train", "--config", str(CONFIG)]
    command += ["--actor.model_name_or_path", str(model), "--data.prompt_dataset", str(problems)]
    command += ["--run.dir", str(run_dir), *flags]
    # A session of its own and SIGINT not ignored, as a terminal gives them: Ctrl-C reaches every process of the group.
    # A job that a script has put in the background ignores SIGINT, and so would what it starts.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        cwd=run_dir.parent,
    )


def write_letters(folder):
    """A verifier. A random model earns neither format nor accuracy: without it no advantage would differ from 0."""
    reward = folder / "letters.py"
    reward.write_text("def letters(response, label):\n    return len(set(response)) / 100\n")
    return reward


def read_metrics(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def check_token_records(run_dir, metrics):
    """Of a run of 4 steps with 2 groups of 4 responses each, every second one recorded."""
    recorded = list(read_steps(run_dir))
    assert [records.step for records in recorded] == [1, 2, 4]
    for records in recorded:
        assert records.table.num_rows == records.batch_size == 8
        rows, step = records.table.to_pylist(), metrics[records.step - 1]
        assert any(row["advantage_before"][0] for row in rows)
        assert [(row["group"], row["sample"]) for row in rows] == [(g, i) for g in "01" for i in range(4)]
        assert sum(row["reward"] for row in rows) / 8 == pytest.approx(step["reward"])
        assert max(max(row["weight"]) for row in rows) == pytest.approx(step["weight_max"])
        for row in rows:
            p = row["progress"]
            assert p == step["progress"]
            assert sum(row["weight"]) / len(row["token_ids"]) == pytest.approx(1, abs=1e-5)
            expected = [a * (1 - p + p * w) for a, w in zip(row["advantage_before"], row["weight"], strict=True)]
            assert row["advantage"] == pytest.approx(expected, abs=1e-5)
            gaps = [abs(a - b) for a, b in zip(row["log_prob"], row["rollout_log_prob"], strict=True)]
            assert sum(gaps) / len(gaps) < 0.1
            assert row["prompt"].count("<|image_pad|>") == len(row["images"]) == 1 and row["has_image"]
            assert (run_dir / "tokens" / "images" / row["images"][0]).exists()
            assert row["task"] and row["reward"] == pytest.approx(sum(dict(row["reward_parts"]).values()))
    table = sweep(load_batches(run_dir))
    assert table["largest_change"].item() < 1e-6


@pytest.mark.timeout(1000)  # the first job on a machine compiles DeepSpeed's Adam
@pytest.mark.usefixtures("no_process_left")
def test_main_job(tiny_model, problems, tmp_path, monkeypatch):
    secrets = {"WANDB_API_KEY": 10 * "5ec7", "HF_TOKEN": "hf_" + 17 * "5e"}
    for name, value in (secrets | {"WANDB_MODE": "offline"}).items():
        monkeypatch.setenv(name, value)
    run_dir = tmp_path / "run"
    reward = write_letters(tmp_path)
    flags = ["--pepo.temperature", "0.2", "--logger.tokens_every", "2", "--logger.wandb.enable"]
    flags += ["--reward.functions", f"[format, accuracy, '{reward}:letters']"]
    process = start(tiny_model, problems, run_dir, *flags)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-4000:]
    # The folder above the run's is the job's working directory, where wandb keeps its own files.
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"config.yaml", "metrics.jsonl"} <= {file.name for file in files}
    assert any(file.suffix == ".wandb" for file in files)
    for secret in secrets.values():
        assert secret not in output
        assert not [file for file in files if secret.encode() in file.read_bytes()]
    metrics = read_metrics(run_dir)
    assert [step["global_step"] for step in metrics] == [1, 2, 3, 4]
    assert [step["progress"] for step in metrics] == [0.0, 0.25, 0.5, 0.75]
    for step in metrics:
        assert not set(METRICS) - set(step)
        assert step["reward"] == pytest.approx(step["accuracy"] + step["format"] + step["letters"])
        assert -1 <= step["similarity_min"] < step["similarity_max"] <= 1
        assert step["weight_min"] < step["weight_p50"] < step["weight_max"]
        assert 1 <= step["response_length"] <= 48
        assert step["weights_age"] == 0
        assert step["ppo_clip_ratio"] == 0  # one update a batch: the ratio is 1
        # In nats. A random model gives the placeholders about 1%, which vLLM, forbidden to sample them, shares out.
        assert step["rollout_trainer_gap"] < 0.03
    assert "step 4 of 4: reward" in output
    check_token_records(run_dir, metrics)
    assert "advice after step 1: " in output and "raise --rollout.max_new_tokens" in output  # it seldom ends by itself
    assert "vision check: passed; 4 responses" in output
    gate = json.loads((run_dir / "vision_check.json").read_text())
    assert gate["fault"] is None and gate["gap"] < gate["limits"]["gap"]

    from transformers import AutoModelForImageTextToText, AutoProcessor

    AutoProcessor.from_pretrained(run_dir / "model")
    trained = AutoModelForImageTextToText.from_pretrained(run_dir / "model").state_dict()
    before = AutoModelForImageTextToText.from_pretrained(tiny_model).state_dict()
    changed = {name for name in trained if not trained[name].equal(before[name])}
    assert any("language_model" in name for name in changed) or not any(step["actor_grad_norm"] for step in metrics)
    assert not any("visual" in name for name in changed), "the vision tower is frozen by default"


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_a_model_whose_image_path_is_cut_is_not_trained(tiny_model, problems, tmp_path):
    blind_model, run_dir = tmp_path / "blind", tmp_path / "run"
    shutil.copytree(tiny_model, blind_model)
    weights = load_file(blind_model / "model.safetensors")
    for name, weight in weights.items():
        if "visual.merger.mlp.2." in name:  # the last layer that image features pass
            weight.zero_()
    save_file(weights, blind_model / "model.safetensors", metadata={"format": "pt"})
    process = start(blind_model, problems, run_dir)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "error: policy and rollout engine are blind: log-probs do not depend on the image" in output
    assert json.loads((run_dir / "vision_check.json").read_text())["fault"]
    assert not (run_dir / "metrics.jsonl").exists()


@pytest.mark.usefixtures("no_process_left")
def test_a_reward_that_raises_stops_the_run_with_its_traceback(tiny_model, problems, tmp_path):
    reward = tmp_path / "my_reward.py"
    # It passes the call before the run, and fails on what a random model says.
    reward.write_text("def broken(response, label):\n    return 1 / (label in response)\n")
    process = start(tiny_model, problems, tmp_path / "run", "--reward.functions", f"[format, '{reward}:broken']")
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "ZeroDivisionError: division by zero" in output
    assert "my_reward.py" in output and "return 1 / (label in response)" in output


@pytest.mark.usefixtures("no_process_left")
def test_ctrl_c_leaves_nothing_behind(tiny_model, problems, tmp_path):
    run_dir = tmp_path / "run"
    process = start(tiny_model, problems, run_dir, "--train.num_episodes", "1000")
    deadline = time.monotonic() + 400
    while not (run_dir / "metrics.jsonl").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode != 0


WEIGHTING = """
from dataclasses import dataclass

from pepo_rlhf.core.token_weighting import TokenWeighting

class Late(TokenWeighting):
    signals = ("entropy",)

    @dataclass(kw_only=True)
    class Settings:
        slope: float = 1.0

    def weigh(self, signals, mask):
        weights = (1 + self.settings.slope * mask.cumsum(dim=-1)) * mask
        return weights * mask.sum(dim=-1, keepdim=True) / weights.sum(dim=-1, keepdim=True).clamp(min=1)
"""
TASK = """
from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.tasks import Task

def make_rows(record, frame):
    return [row_from_record(*record)]

def variety(response, label):
    return len(set(response)) / 100

VERIFIERS = {"variety": variety}
VARIETY = Task(name="variety", make_rows=make_rows, verifiers=("variety",))
"""


@pytest.mark.usefixtures("no_process_left")
def test_async_trainer_with_a_weighting_and_a_task_from_outside(tiny_model, problems, tmp_path):
    run_dir = tmp_path / "run"
    (tmp_path / "late.py").write_text(WEIGHTING)
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "__init__.py").write_text(TASK)
    flags = ["--train.async_enable", "--train.colocate_actor_ref", "--algo.advantage.is_correction_level", "token"]
    flags += ["--pepo.method", f"{tmp_path / 'late.py'}:Late", "--pepo.settings.slope", "0.5"]
    flags += ["--data.task", f"{tmp_path / 'task'}:VARIETY", "--logger.tokens_every", "3"]
    process = start(tiny_model, problems, run_dir, *flags)
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output[-4000:]
    metrics = read_metrics(run_dir)
    assert [step["progress"] for step in metrics] == [0.0, 0.25, 0.5, 0.75]
    assert {"accuracy", "similarity_min", "similarity_max"} == set(METRICS) - set(metrics[1]), "step 2 is not recorded"
    assert "similarity_min" in metrics[0], "a recorded step has every signal, which reweight then compares"
    assert "vision check: passed" in output and "step 4 of 4: reward" in output and "variety 0." in output
    # A batch is generated while the one before it is trained on, with the weights from before that.
    assert [step["weights_age"] for step in metrics] == [0, 1, 1, 1]
    for step in metrics:
        assert step["reward"] == pytest.approx(step["format"] + step["variety"])
        assert step["weight_min"] < 1 < step["weight_max"]
        # Importance correction by the ratio of trainer to engine, which the gap bounds: none leaves the thresholds.
        assert abs(step["vllm_kl"]) <= step["rollout_trainer_gap"] + 1e-6
        assert step["is_filter_ratio"] == 0
    assert load_batches(run_dir)[0].settings["settings"] == {"slope": 0.5}


# Numbers of the batch itself. Seeds belong to requests, so another number of engines draws the same responses.
SAME = ("reward", "response_length", "entropy", "similarity_min", "similarity_max", "weight_min", "weight_max", "kl")

ZERO_3 = ["--ds.zero_stage", "3", "--actor.num_gpus_per_node", "2", "--ref.num_gpus_per_node", "2"]


def train(model, problems, run_dir, *flags):
    letters = write_letters(run_dir.parent)
    flags = ["--train.micro_batch_size", "2", "--reward.functions", f"[format, accuracy, '{letters}:letters']", *flags]
    process = start(model, problems, run_dir, *flags)
    output, _ = process.communicate(timeout=550)
    assert process.returncode == 0, output[-4000:]
    return read_metrics(run_dir)


@pytest.fixture(scope="module")
def one_of_each(tiny_model, problems, tmp_path_factory):
    """Metrics of four steps with one policy rank and one engine."""
    return train(tiny_model, problems, tmp_path_factory.mktemp("one") / "run")


def assert_same(metrics, expected):
    assert len(metrics) == len(expected) == 4
    for step, other in zip(metrics, expected, strict=True):
        assert step["progress"] == other["progress"]
        assert step["actor_grad_norm"] > 0.01, "there is something to differ in"
        assert step["actor_grad_norm"] == pytest.approx(other["actor_grad_norm"], rel=1e-3), "which Adam would hide"
        assert step["rollout_trainer_gap"] < 0.03, "an engine that misses a sync drifts away"
        for name in SAME:
            assert step[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4), (name, step["global_step"])


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_two_ranks_and_two_engines(one_of_each, tiny_model, problems, tmp_path):
    ranks = ["--actor.num_gpus_per_node", "2", "--ref.num_gpus_per_node", "2", "--vllm.num_engines", "2"]
    assert_same(train(tiny_model, problems, tmp_path / "run", *ranks), one_of_each)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_zero_3_gathers_the_head_for_its_chunks(one_of_each, tiny_model, problems, tmp_path):
    assert_same(train(tiny_model, problems, tmp_path / "run", *ZERO_3), one_of_each)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_zero_3_with_a_frozen_encoder_and_layers_computed_again(tiny_model, problems, tmp_path):
    frozen = ["--actor.freeze_visual_encoder", "true"]
    expected = train(tiny_model, problems, tmp_path / "one", *frozen)
    flags = [*ZERO_3, *frozen, "--actor.gradient_checkpointing_enable", "true"]
    assert_same(train(tiny_model, problems, tmp_path / "two", *flags), expected)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(("texts", "no_image"), [(0, "error"), (5, "uniform"), (10, "sequence")])
def test_rows_without_images_on_ranks_that_share_a_trained_encoder(texts, no_image, tiny_model, problems, tmp_path):
    """A rank without an image runs the encoder all the same, which ZeRO-3 gathers and whose gradients are reduced."""
    mixed = shutil.copytree(problems, tmp_path / "mixed")
    rows = [json.loads(line) for line in (mixed / "problems.jsonl").read_text().splitlines()]
    for row in rows[:texts]:  # as long as those with images, so that either kind fills micro-batches of its own
        row |= {"image": None, "images": [], "problem": "Find x. " * (3 + row["id"])}
    (mixed / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--actor.freeze_visual_encoder", "false", "--pepo.no_image", no_image, "--pepo.temperature", "0.2"]
    flags += ["--logger.tokens_every", "1"]
    # Two groups of three: scoring gives each rank a group, and in the update one rank has two of the longer three.
    flags += ["--rollout.n_samples_per_prompt", "3", "--rollout.micro_batch_size", "3"]
    flags += ["--train.batch_size", "6", "--train.micro_batch_size", "1"]
    expected = train(tiny_model, mixed, tmp_path / "one", *flags)
    assert_same(train(tiny_model, mixed, tmp_path / "two", *flags, *ZERO_3, "--vllm.num_engines", "2"), expected)
    recorded = [row for step in read_steps(tmp_path / "two") for row in step.table.to_pylist()]
    assert {row["has_image"] for row in recorded} == {0: {True}, 5: {True, False}, 10: {False}}[texts]
    for row in recorded:
        assert (set(row["weight"]) == {1}) == (not row["has_image"] and no_image == "uniform")


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
def test_batches_by_tokens(one_of_each, tiny_model, problems, tmp_path):
    flags = ["--train.dynamic_batch_enable", "--train.max_tokens_per_gpu", "300"]
    metrics = train(tiny_model, problems, tmp_path / "run", *flags)
    assert_same(metrics, one_of_each)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("ranks", [[], [*ZERO_3, "--actor.gradient_checkpointing_enable", "true"]], ids=["1", "2"])
def test_a_single_pass_trains_as_two_do(one_of_each, tiny_model, problems, tmp_path, ranks):
    assert_same(train(tiny_model, problems, tmp_path / "run", "--train.single_pass", "true", *ranks), one_of_each)


@pytest.mark.full
@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("ranks", [[], ZERO_3], ids=["1", "2"])
def test_responses_without_a_gradient_change_nothing(tiny_model, problems, tmp_path, ranks):
    """With --train.single_pass they are scored all the same."""
    flags = ["--algo.kl.init_coef", "0", *ranks]
    expected = train(tiny_model, problems, tmp_path / "all", *flags, "--train.skip_zero_advantages", "false")
    for name, more in (("two_passes", []), ("one_pass", ["--train.single_pass", "true"])):
        steps = train(tiny_model, problems, tmp_path / name, *flags, *more)
        assert {step["num_samples_updated"] for step in steps} != {8}, (
            "no batch has a group of equal rewards: choose other rewards"
        )
        for step, other in zip(steps, expected, strict=True):
            assert other["num_samples_updated"] == 8
            for metric in ("actor_grad_norm", "policy_loss", *(name for name in SAME if name != "kl")):
                assert step[metric] == pytest.approx(other[metric], rel=1e-3, abs=1e-4), metric


@pytest.mark.parametrize("flags", [["--pepo.alhpa", "1"], ["--train.batch_size", "6"]])
def test_a_mistake_costs_one_line_and_no_ray(tmp_path, flags):
    process = start("model", "data", tmp_path / "run", *flags)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(output.splitlines()) == 1 and output.startswith("error: ")

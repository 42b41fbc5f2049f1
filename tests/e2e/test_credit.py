"""The credit command on a tiny model of random weights, and on the same with its vision tower cut off."""

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file


def credit(model, problems, output, *flags):
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pepo_rlhf.credit",
        str(model),
        str(problems),
        "--num_prompts",
        "4",
    ]
    command += ["--data.max_len", "448", "--rollout.max_new_tokens", "24", "--output", str(output), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.full
@pytest.mark.timeout(700)
def test_a_model_that_sees_gets_tables_and_verdicts_and_a_page(tiny_model, problems, tmp_path):
    flags = ["--num_samples", "2", "--decisive", "3", "--num_continuations", "4"]
    done = credit(tiny_model, problems, tmp_path / "credit.html", *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "4 prompts, 8 responses, " in done.stdout
    for line in ("visual_similarity ", "image_dependence* ", "vppo "):
        assert any(row.startswith(line) for row in done.stdout.splitlines()), line
    assert "Visual similarity ranks image-dependent tokens " in done.stdout and "blind" not in done.stdout
    assert "second target: no measured token decides about the reward" in done.stdout, "it has random weights"
    page = (tmp_path / "credit.html").read_text()
    assert page.count("<table>") == 8 and page.count("<tr>") == 8 * 7


@pytest.mark.full
@pytest.mark.timeout(700)
def test_a_model_whose_vision_tower_is_cut_off_is_called_blind(tiny_model, problems, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(tiny_model, cut)
    weights = load_file(cut / "model.safetensors")
    for name in [name for name in weights if "merger.mlp.2" in name]:
        weights[name] = torch.zeros_like(weights[name])  # weight and bias: every image has the same features
    save_file(weights, cut / "model.safetensors", metadata={"format": "pt"})
    done = credit(cut, problems, tmp_path / "credit.html", "--num_samples", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "This model is blind" in done.stdout and "better than chance" not in done.stdout

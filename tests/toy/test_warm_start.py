from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from pepo_rlhf.toy import counting, grounding
from pepo_rlhf.toy.counting import demonstration, generate
from pepo_rlhf.toy.tiny_vlm import build_tiny_qwen2_5_vl
from pepo_rlhf.toy.warm_start import Course, response_loss, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny_qwen2_5_vl(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def one_thread():
    """Results repeat for a number of threads, and threads that spin on a busy machine take minutes for seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def load(folder):
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32), AutoProcessor.from_pretrained(
        folder
    )


def test_loss_is_the_mean_over_the_response_and_its_end_token(folder):
    model, processor = load(folder)
    [row] = generate(1, seed=0)
    prompt = processor.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
    response = demonstration(row, 2) + "<|im_end|>"
    inputs = processor(text=[prompt + response], images=[row.draw()], return_tensors="pt")
    log_probs = model(**inputs).logits[0].log_softmax(dim=-1)
    ids = inputs["input_ids"][0]
    length = len(processor.tokenizer(response)["input_ids"])
    positions = range(len(ids) - length, len(ids))
    expected = -sum(log_probs[position - 1, ids[position]] for position in positions) / length
    torch.testing.assert_close(response_loss(model, processor, [row], [demonstration(row, 2)]), expected)


def test_responses_of_other_lengths_are_padded_and_the_padding_is_not_learnt(tmp_path):
    model, processor = load(build_tiny_qwen2_5_vl(tmp_path / "tiny", task=grounding))
    rows = grounding.generate(2, seed=0)
    responses = [
        grounding.demonstration(rows[0], (0, 0, 28, 28)),
        grounding.demonstration(rows[1], (84, 84, 112, 112)),
    ]
    short, long = (len(processor.tokenizer(response + "<|im_end|>")["input_ids"]) for response in responses)
    assert short < long
    first, second = (response_loss(model, processor, [rows[i]], [responses[i]]) for i in range(2))
    expected = (first * short + second * long) / (short + long)
    torch.testing.assert_close(response_loss(model, processor, rows, responses), expected)


def test_an_untrained_model_knows_nothing(folder):
    model, processor = load(folder)
    rows = generate(4, seed=1)
    loss = response_loss(model, processor, rows, [demonstration(row) for row in rows])
    # Guessing evenly costs log(vocabulary); the random logits, of variance about one, add about half a nat.
    assert abs(loss.item() - math.log(len(processor.tokenizer)) - 0.5) < 0.5


def test_training_lowers_the_loss_reports_progress_and_repeats(folder, capsys):
    losses = []
    for _ in range(2):
        model, processor = load(folder)
        train(model, processor, Course(counting, steps=3, noisy_steps=1), seed=3)
        assert capsys.readouterr().out.startswith("step 4 of 4: loss ")
        rows = generate(8, seed=4)
        losses.append(response_loss(model, processor, rows, [demonstration(row) for row in rows]).item())
    assert losses[0] == losses[1]
    assert losses[0] < 5.5  # from log(vocabulary), about 5.9

"""What is recorded of a batch, and when. That it equals what is trained on: test_experience_maker.py."""

from types import SimpleNamespace

import pytest
import torch

from pepo_rlhf.config import Config
from pepo_rlhf.controller.batch import Draw, make_batch
from pepo_rlhf.controller.prompts import Prompt
from pepo_rlhf.controller.token_recorder import TokenRecorder, token_texts
from pepo_rlhf.metrics.token_records import SIGNAL_COLUMNS, read_steps
from pepo_rlhf.toy.tokenizer import train_tokenizer
from pepo_rlhf.workers.responses import Group, Response

ATTRIBUTES = {
    "log_prob": "action_log_probs",
    "weight": "weights",
    "advantage_before": "unweighted_advantages",
    "advantage": "advantages",
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the angle is 60 degrees"] * 10)


def make_recorder(tokenizer, run_dir, every=1, max_rows=4, samples=2):
    config = Config()
    config.run.dir = str(run_dir)
    config.logger.tokens_every, config.logger.tokens_max_rows = every, max_rows
    config.rollout.n_samples_per_prompt = samples
    return TokenRecorder(config, SimpleNamespace(tokenizer=tokenizer), num_steps=7)


def make(tokenizer, texts, images=()):
    """Groups of two responses to prompts of two tokens; each score is 100 times the row, plus the column."""
    responses = [
        Response(
            tokenizer(text)["input_ids"],
            [],
            index == 1,
            float(index),
            {"format": 1.0, "accuracy": index - 1.0},
            None,
            0,
        )
        for index, text in enumerate(texts)
    ]
    responses = [response._replace(log_probs=[-1.0] * len(response.token_ids)) for response in responses]
    groups = [Group([0, 0], None, responses[start : start + 2]) for start in range(0, len(texts), 2)]
    prompts = [Prompt(i, "here", f"prompt {i}", str(i), tuple(images)) for i in range(len(groups))]
    batch = make_batch(prompts, groups, Draw(position=0, episode=0, num_drawn_in_episode=2), pad_token_id=0)
    scores = torch.arange(batch.action_mask.shape[1]) + 100.0 * torch.arange(len(batch))[:, None]
    for attribute in ATTRIBUTES.values():
        setattr(batch, attribute, scores)
    batch.signals = dict.fromkeys(SIGNAL_COLUMNS, scores)
    batch.loss_mask = batch.action_mask
    return batch


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 3, 6, 7]), (10, [1, 7])])
def test_the_first_step_the_last_and_every_so_many_are_due(tokenizer, tmp_path, every, steps):
    recorder = make_recorder(tokenizer, tmp_path, every)
    assert [step for step in range(1, 8) if recorder.is_due(step)] == steps


def test_rows_stand_in_the_order_of_the_batch_with_the_tokens_of_the_response(tokenizer, tmp_path):
    recorder = make_recorder(tokenizer, tmp_path)
    texts = ["the angle is 60", "60", "is", "degrees"]
    recorder.record(3, make(tokenizer, texts), 0.5)
    recorder.finish()
    (records,) = read_steps(tmp_path)
    rows = records.table.to_pylist()
    assert [(row["group"], row["sample"], row["prompt"]) for row in rows] == [
        ("0", 0, "prompt 0"),
        ("0", 1, "prompt 0"),
        ("1", 0, "prompt 1"),
        ("1", 1, "prompt 1"),
    ]
    for index, (row, text) in enumerate(zip(rows, texts, strict=True)):
        assert row["response"] == "".join(row["token_texts"]) == text
        assert row["token_ids"] == tokenizer(text)["input_ids"]
        for name in (*ATTRIBUTES, *SIGNAL_COLUMNS.values()):
            assert row[name] == [100.0 * index + column for column in range(1, len(row["token_ids"]) + 1)]
        assert row["rollout_log_prob"] == [-1.0] * len(row["token_ids"])
        assert (row["step"], row["progress"], row["task"], row["label"]) == (3, 0.5, "here", str(index // 2))
        assert (row["reward"], dict(row["reward_parts"])) == (index, {"format": 1.0, "accuracy": index - 1.0})
        assert (row["truncated"], row["has_image"], row["images"]) == (index == 1, False, [])


def test_a_signal_that_was_not_computed_is_null(tokenizer, tmp_path):
    recorder, batch = make_recorder(tokenizer, tmp_path), make(tokenizer, ["60"] * 2)
    batch.signals = {"entropy": batch.action_log_probs}
    recorder.record(1, batch, 0.0)
    recorder.finish()
    (records,) = read_steps(tmp_path)
    for column in ("similarity", "image_dependence", "image_sensitivity"):
        assert [row[column] for row in records.table.to_pylist()] == [None, None]


@pytest.mark.parametrize(("max_rows", "kept"), [(3, 2), (4, 4), (64, 6)])
def test_the_bound_keeps_whole_groups_and_the_size_of_the_batch_is_told(tokenizer, tmp_path, max_rows, kept):
    recorder = make_recorder(tokenizer, tmp_path, max_rows=max_rows)
    recorder.record(1, make(tokenizer, ["60"] * 6), 0.0)
    recorder.finish()
    (records,) = read_steps(tmp_path)
    assert (records.table.num_rows, records.batch_size) == (kept, 6)


def test_what_stops_the_writing_is_raised(tokenizer, tmp_path):
    recorder = make_recorder(tokenizer, tmp_path)
    recorder.record(1, make(tokenizer, ["60"] * 2, images=[b"no image"]), 0.0)
    with pytest.raises(ValueError, match="not an image"):
        recorder.finish()


def test_characters_of_several_tokens_stay_whole_and_special_tokens_are_seen(tokenizer):
    ids = tokenizer("∠ is 60°🎈")["input_ids"] + [tokenizer.eos_token_id]
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == "∠ is 60°🎈<|im_end|>"
    assert not any("�" in text for text in texts)


def test_bytes_that_are_no_character_do_not_stop_the_text(tokenizer):
    lone = tokenizer("∠")["input_ids"][0]  # the first byte of three
    ids = [lone] * 6 + tokenizer(" is 60")["input_ids"]
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts).endswith(" is 60") and "\ufffd" in "".join(texts)

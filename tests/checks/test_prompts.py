from __future__ import annotations

import pytest
from transformers import AutoProcessor

from pepo_rlhf.checks.prompts import check_rows
from pepo_rlhf.data import Row, build_messages


def test_lengths_of_the_prompts_are_told(make_inputs, run_check):
    message = run_check(check_rows, make_inputs())["ok"][1].message
    assert "up to 16 of a prompt are visual" in message and "left for the response" in message


def test_a_prompt_that_is_too_long_is_named_by_row_and_length(make_inputs, write_problems, tiny_model):
    problem = "How many? " * 30
    folder = write_problems({4: {"problem": problem}})
    tokenizer = AutoProcessor.from_pretrained(tiny_model)
    text = tokenizer.apply_chat_template(
        build_messages(Row(f"<image>\n{problem}", ("x",), "1", "", "")), tokenize=False, add_generation_prompt=True
    )
    length = len(tokenizer.tokenizer(text)["input_ids"]) - 1 + 16  # one placeholder stands for 4 x 4 visual tokens
    with pytest.raises(ValueError, match=rf"row 5: a prompt of {length} tokens \(16 visual\).*raise --data.max_len, "):
        list(check_rows(make_inputs(data__prompt_dataset=folder)))
    loaded = make_inputs(data__prompt_dataset=folder, data__on_bad_row="skip").training_rows
    assert (len(loaded.rows), loaded.num_skipped) == (11, 1)


def test_a_response_counts_towards_the_context(make_inputs):
    with pytest.raises(ValueError, match="where 8 leave room for the response"):
        list(check_rows(make_inputs(rollout__max_new_tokens=120)))


def test_fewer_rows_than_a_batch_are_an_error(make_inputs):
    with pytest.raises(ValueError, match="12 rows, fewer than one batch of --rollout.batch_size 16"):
        list(check_rows(make_inputs(rollout__batch_size=16, train__batch_size=32)))


def test_steps_of_an_episode(make_inputs, run_check):
    message = run_check(check_rows, make_inputs(rollout__batch_size=5, train__batch_size=10))["ok"][0].message
    assert "12 rows; an episode takes 10, 2 steps of 5 prompts" in message


def test_a_row_that_spells_the_image_placeholder_is_found_before_any_worker_starts(make_inputs, write_problems):
    rows = write_problems({3: {"problem": "What is <|image_pad|>?"}})
    with pytest.raises(ValueError, match=r"image_pad"):
        list(check_rows(make_inputs(data__prompt_dataset=rows)))

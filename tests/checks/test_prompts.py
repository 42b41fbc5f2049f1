from __future__ import annotations

import pytest
from transformers import AutoProcessor

from pepo_rlhf.checks.prompts import check_prompts, check_rows
from pepo_rlhf.data import Row, build_messages


def test_prompts_that_fit_pass(make_inputs, run_check):
    found = run_check(check_prompts, make_inputs())
    assert not found["warning"] + found["error"]
    assert "12 of 12 encoded" in found["ok"][0].message and "up to 16 are visual" in found["ok"][0].message


def test_each_prompt_that_is_too_long_is_named_by_row_and_length(make_inputs, write_problems, run_check, tiny_model):
    problem = "How many? " * 30
    folder = write_problems({4: {"problem": problem}})
    found = run_check(check_prompts, make_inputs(data__prompt_dataset=folder))
    tokenizer = AutoProcessor.from_pretrained(tiny_model)
    text = tokenizer.apply_chat_template(
        build_messages(Row(f"<image>\n{problem}", ("x",), "1", "", "")), tokenize=False, add_generation_prompt=True
    )
    length = len(tokenizer.tokenizer(text)["input_ids"]) - 1 + 16  # one placeholder stands for 4 x 4 visual tokens
    (finding,) = found["error"]
    assert f"problems.jsonl:row 5: a prompt of {length} tokens (16 visual)" in finding.message
    assert finding.flags == ("--data.max_len", "--rollout.max_new_tokens", "--data.max_pixels")


def test_a_response_counts_towards_the_context(make_inputs, run_check):
    assert len(run_check(check_prompts, make_inputs(rollout__max_new_tokens=120))["error"]) == 6  # five rows and a sum


def test_an_image_without_a_token_is_an_error(make_inputs, run_check, monkeypatch):
    # as if none of the prompts' tokens stood for an image
    monkeypatch.setattr("pepo_rlhf.data.prompt.vision_token_ids", lambda processor: {-1})
    (finding,) = run_check(check_prompts, make_inputs())["error"]
    assert "leaves no token for its image; 12 such prompts" in finding.message


def test_fewer_rows_than_a_batch_are_an_error(make_inputs):
    with pytest.raises(ValueError, match="12 rows, fewer than one batch of --rollout.batch_size 16"):
        list(check_rows(make_inputs(rollout__batch_size=16, train__batch_size=32)))


def test_steps_of_an_episode(make_inputs, run_check):
    message = run_check(check_rows, make_inputs(rollout__batch_size=5, train__batch_size=10))["ok"][0].message
    assert "12 rows; an episode takes 10, 2 steps of 5 prompts" in message


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"ds__zero_stage": 3}, True),
        ({"actor__freeze_visual_encoder": False}, True),
        ({}, False),
        ({"ds__zero_stage": 3, "actor__num_gpus_per_node": 1, "ref__num_gpus_per_node": 1}, False),
    ],
)
def test_ranks_do_not_wait_for_a_vision_encoder_that_one_leaves_out(
    changes, fails, make_inputs, write_problems, run_check
):
    ranks = {"actor__num_gpus_per_node": 2, "ref__num_gpus_per_node": 2, "actor__freeze_visual_encoder": True}
    text_only = {0: {"image": None, "images": []}}
    found = run_check(check_rows, make_inputs(data__prompt_dataset=write_problems(text_only), **(ranks | changes)))
    assert [finding.message[:22] for finding in found["error"]] == ["1 rows have no image: "] * fails
    found = run_check(check_rows, make_inputs(data__prompt_dataset=write_problems(), **(ranks | changes)))
    assert not found["error"]


def test_a_row_that_spells_the_image_placeholder_is_found_before_any_worker_starts(make_inputs, write_problems):
    rows = write_problems({3: {"problem": "What is <|image_pad|>?"}})
    with pytest.raises(ValueError, match=r"image_pad"):
        list(check_rows(make_inputs(data__prompt_dataset=rows)))

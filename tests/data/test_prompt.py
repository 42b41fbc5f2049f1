from __future__ import annotations

from dataclasses import replace

from pepo_rlhf.data import INSTRUCTION, Row, build_messages


def row(prompt: str, system: str = "") -> Row:
    return Row(prompt, ("/a.png",) * prompt.count("<image>"), "13", "here:row 1", "here", system)


def image() -> dict:
    return {"type": "image"}


def text(content: str) -> dict:
    return {"type": "text", "text": content}


def test_the_instruction_asks_for_both_tags() -> None:
    assert all(tag in INSTRUCTION for tag in ("<think>", "</think>", "<answer>", "</answer>"))


def test_images_stand_where_the_placeholders_were() -> None:
    assert build_messages(row("<image>\nIs this like <image>?")) == [
        {"role": "user", "content": [image(), text("\nIs this like "), image(), text(f"?\n\n{INSTRUCTION}")]}
    ]


def test_neighbouring_images_have_no_empty_text_between_them() -> None:
    (message,) = build_messages(row("Compare.<image><image>"))
    assert message["content"] == [text("Compare."), image(), image(), text(f"\n\n{INSTRUCTION}")]


def test_a_row_that_asks_for_the_tags_itself_gets_no_second_instruction() -> None:
    prompt = "<image>\nFind x.\n\nThink in <think> </think>, answer in <answer> </answer>."
    (message,) = build_messages(row(prompt))
    assert message["content"] == [image(), text(prompt.removeprefix("<image>"))]


def test_the_system_message_is_kept_and_comes_first() -> None:
    system, user = build_messages(row("<image>Find x.", system="You are a geometer."))
    assert system == {"role": "system", "content": [text("You are a geometer.")]}
    assert user["content"][-1] == text(f"Find x.\n\n{INSTRUCTION}")


def test_the_system_message_may_carry_the_instruction() -> None:
    _, user = build_messages(row("<image>Find x.", system="Reply with <answer>."))
    assert user["content"] == [image(), text("Find x.")]


def test_the_rows_own_instruction_stands_in_place_of_the_usual_one():
    (user,) = build_messages(replace(row("<image>Find x."), instruction="Answer in <answer>."))
    assert user["content"] == [image(), text("Find x.\n\nAnswer in <answer>.")]
    (user,) = build_messages(replace(row("<image>Find x."), instruction=""))
    assert user["content"] == [image(), text("Find x.")]
    (user,) = build_messages(replace(row("<image>Find x, in <answer>."), instruction="More."))
    assert user["content"] == [image(), text("Find x, in <answer>.")]

import io

import pytest
from PIL import Image

from pepo_rlhf.credit.responses import _until_end, questions_of_run
from pepo_rlhf.metrics.token_records import SIGNAL_COLUMNS, store_image, write_step


def make_row(step, group, sample, images):
    numbers = {name: [0.0, 1.0] for name in ("log_prob", "weight", "advantage_before", "advantage")}
    texts = {"task": "counting", "prompt": f"prompt {group}", "label": "3", "response": "3"}
    return {
        "step": step,
        "group": str(group),
        "sample": sample,
        **texts,
        "images": images,
        "token_ids": [10 * group + sample, 7],
        "token_texts": ["3", ""],
        **numbers,
        **dict.fromkeys(SIGNAL_COLUMNS.values()),
        "rollout_log_prob": None,
        "reward": 1.0,
        "reward_parts": {},
        "truncated": False,
        "has_image": bool(images),
        "progress": 0.0,
    }


def test_a_runs_last_recorded_step_gives_prompts_with_images_and_their_responses(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(file, "PNG")
    name = store_image(tmp_path, file.getvalue())
    rows = [make_row(9, group, sample, [] if group == 1 else [name]) for group in range(4) for sample in range(3)]
    write_step(tmp_path, 9, rows, {}, batch_size=12)
    write_step(tmp_path, 2, rows[:1], {}, batch_size=1)
    questions = questions_of_run(tmp_path, num_prompts=2, num_samples=2)
    texts = [(question.prompt, question.label, question.task) for question in questions]
    assert texts == [("prompt 0", "3", "counting"), ("prompt 2", "3", "counting")]
    assert [question.token_ids for question in questions] == [[[0, 7], [1, 7]], [[20, 7], [21, 7]]]
    assert questions[0].pictures[0].size == (6, 4)


def test_a_run_without_records_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no token records"):
        questions_of_run(tmp_path, 2, 2)


def test_a_response_ends_with_its_first_end_token():
    assert _until_end([5, 6, 2, 2, 0], {2}) == [5, 6, 2]
    assert _until_end([5, 6], {2}) == [5, 6]

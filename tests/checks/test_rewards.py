from __future__ import annotations

import pytest

from pepo_rlhf.checks.rewards import check_answers, check_call, check_functions


def test_labels_as_answers_score_in_full(make_inputs, run_check):
    found = run_check(check_answers, make_inputs())
    assert not found["warning"] + found["error"]
    # format and accuracy are 1 each, and a wrong answer in the right format keeps the format's
    assert "score 2.00 on average, a wrong answer 1.00" in found["ok"][0].message


def test_a_label_that_no_answer_can_equal_is_named(make_inputs, write_problems, run_check):
    folder = write_problems({0: {"answer": "the tag </answer>"}})
    (finding,) = run_check(check_answers, make_inputs(data__prompt_dataset=folder))["error"]
    assert "problems.jsonl:row 1: the label 'the tag </answer>' as the answer scores 0" in finding.message


@pytest.mark.parametrize("label", [r"We add. So the answer is \boxed{3}.", "3 + 4 = 7, so it is\n#### 7"])
def test_the_value_of_a_worked_solution_is_asked_for_wherever_it_stands(make_inputs, write_problems, run_check, label):
    folder = write_problems({5: {"answer": label}})
    (finding,) = run_check(check_answers, make_inputs(data__prompt_dataset=folder))["error"]
    assert "row 6: the value of the label" in finding.message and "scores 0 for accuracy" in finding.message


def test_labels_that_are_sentences_are_a_warning(make_inputs, write_problems, run_check):
    folder = write_problems({1: {"answer": "The angle is as large as the other one"}, 2: {"answer": r"\boxed{12}"}})
    found = run_check(check_answers, make_inputs(data__prompt_dataset=folder))
    (finding,) = found["warning"]
    assert "1 labels are sentences, as of " in finding.message and "row 2" in finding.message and not found["error"]


def test_a_structured_labels_own_answer_scores_in_full(make_inputs, write_problems, run_check):
    letters = write_problems({number: {"answer": '{"choice": "B", "options": ["12", "13"]}'} for number in range(12)})
    found = run_check(check_answers, make_inputs(data__prompt_dataset=letters, reward__functions="[format, choice]"))
    assert not found["warning"] + found["error"]


def test_a_task_in_a_folder_outside_is_graded_by_its_own_verifiers(make_inputs, shapes, tmp_path, run_check):
    task = f"{shapes}:SHAPES"
    inputs = make_inputs(data__prompt_dataset=tmp_path / "shapes.jsonl", data__task=task)
    # format, shape and accuracy: the label's answer, "circle", is not the text of the label.
    (finding,) = run_check(check_answers, inputs)["error"]
    assert "scores 0 for accuracy" in finding.message
    inputs = make_inputs(
        data__prompt_dataset=tmp_path / "shapes.jsonl",
        data__task=task,
        reward__functions=f"[format, '{shapes}:shape']",
    )
    assert "score 2.00 on average, a wrong answer 1.00" in run_check(check_answers, inputs)["ok"][0].message


def test_a_label_that_any_answer_matches_is_named(make_inputs, write_problems, run_check):
    # Of the only option every text is the closest.
    folder = write_problems({0: {"answer": '{"choice": "A", "options": ["12"], "closest": true}'}})
    inputs = make_inputs(data__prompt_dataset=folder, reward__functions="[format, answer]")
    (finding,) = run_check(check_answers, inputs)["error"]
    assert "row 1: any answer is right for the label" in finding.message


def write_reward(folder, body):
    file = folder / "mine.py"
    file.write_text(f"def mine(response, label):\n    {body}\n")
    return f"['{file}:mine']"


def test_a_reward_that_raises_is_an_error_with_its_exception(make_inputs, run_check, tmp_path):
    inputs = make_inputs(reward__functions=write_reward(tmp_path, "return 1 / 0"))
    (finding,) = run_check(check_answers, inputs)["error"]
    assert "ZeroDivisionError" in finding.message and finding.flags == ("--reward.functions",)


def test_a_reward_that_cannot_tell_right_from_wrong_is_a_warning(make_inputs, run_check, tmp_path):
    (finding,) = run_check(check_answers, make_inputs(reward__functions=write_reward(tmp_path, "return 0.5")))[
        "warning"
    ]
    assert "nothing rewards being right" in finding.message


def test_a_reward_on_a_scale_of_its_own_passes(make_inputs, run_check, tmp_path):
    inputs = make_inputs(reward__functions=write_reward(tmp_path, "return 0.1 * (f'>{label}<' in response)"))
    assert not run_check(check_answers, inputs)["error"]


def test_a_file_that_does_not_run_is_one_line_with_its_place(make_inputs, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import os\nimport no_such_package\n")
    with pytest.raises(ValueError, match=rf"^--reward.functions: {file}:2: ModuleNotFoundError: [^\n]*$"):
        list(check_functions(make_inputs(reward__functions=f"['{file}:mine']")))


def test_a_file_that_does_not_run_tells_no_secret(make_inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    file = tmp_path / "mine.py"
    file.write_text("import os\nraise ValueError(os.environ['HF_TOKEN'])\n")
    with pytest.raises(ValueError, match=r": ValueError: \*\*\*$"):
        list(check_functions(make_inputs(reward__functions=f"['{file}:mine']")))


def test_a_syntax_error_begins_with_its_place(make_inputs, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import os\n\ndef mine(response, label)\n    return 1\n")
    with pytest.raises(ValueError, match=rf"^--reward.functions: {file}:3: SyntaxError: [^\n]*$"):
        list(check_functions(make_inputs(reward__functions=f"['{file}:mine']")))


def test_parameters_of_another_library_are_an_error_before_the_run(make_inputs, run_check, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def mine(completions, **kwargs):\n    return [1.0 for _ in completions]\n")
    (finding,) = run_check(check_call, make_inputs(reward__functions=f"['{file}:mine']"))["error"]
    assert "problems.jsonl:row 1: grader error: TypeError" in finding.message
    assert "a reward function is f(response, label)" in finding.message
    assert not run_check(check_call, make_inputs())["error"]


def test_functions_that_load_are_listed(make_inputs, run_check):
    assert run_check(check_functions, make_inputs())["ok"][0].message == "format, accuracy"

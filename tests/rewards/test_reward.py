from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepo_rlhf.rewards import RewardError, load_rewards
from pepo_rlhf.rewards.answer import number_label
from pepo_rlhf.rewards.reward import built_in
from pepo_rlhf.tasks.classification.label_match import class_label
from pepo_rlhf.tasks.grounding.box import box_label
from pepo_rlhf.tasks.puzzles.choice import choice_label

COMPONENTS = built_in()
BUILT_IN = "accuracy, accuracy_mathruler, answer, choice, format, format_pairs, iou, iou50, label_match"
GOOD = "<think>30 + 50</think><answer>80</answer>"


def write(path: Path, code: str) -> str:
    path.write_text(code)
    return str(path)


def test_components_are_named() -> None:
    reward = load_rewards(["format", "accuracy"])
    assert reward(GOOD, "80") == {"format": 1.0, "accuracy": 1.0}
    assert reward(GOOD, "81") == {"format": 1.0, "accuracy": 0.0}


def test_a_users_function_is_called_with_response_and_label(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "def shortness(response, label):\n    return len(label) / len(response)\n")
    reward = load_rewards(["format", f"{file}:shortness"])
    assert reward("abcd", "xy") == {"format": 0.0, "shortness": 0.5}


def test_a_users_file_may_define_dataclasses(tmp_path: Path) -> None:
    code = """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Scale:
    value: float
def scaled(response, label):
    return Scale(0.25).value
"""
    assert load_rewards([f"{write(tmp_path / 'mine.py', code)}:scaled"])("a", "b") == {"scaled": 0.25}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [],
            f"no reward is named; choose from {BUILT_IN} or path/to/file.py:function",
        ),
        (
            ["acuracy"],
            f"unknown reward 'acuracy'; choose from {BUILT_IN} or",
        ),
        (["format", "format"], "two rewards are called 'format'"),
        (["{file}:constant", "{file}:constant"], "not a function called 'constant'"),
        (["{file}:half", "{file}:half"], "two rewards are called 'half'"),
        (["{file}:absent"], "has no function 'absent'"),
        (["nowhere.py:half"], "there is no Python file .*nowhere.py"),
        (["{folder}:half"], "there is no Python file"),
    ],
)
def test_a_mistake_in_the_names_shows_when_loading(tmp_path: Path, names: list[str], message: str) -> None:
    file = write(tmp_path / "mine.py", "constant = 3\ndef half(response, label):\n    return 0.5\n")
    with pytest.raises(RewardError, match=message) as caught:
        load_rewards([name.format(file=file, folder=tmp_path) for name in names])
    assert "\n" not in str(caught.value)


def test_an_error_in_the_users_file_is_passed_on(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "import a_module_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError):
        load_rewards([f"{file}:half"])


def test_an_exception_keeps_its_type_and_names_its_component(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "def broken(response, label):\n    return {}[label]\n")
    with pytest.raises(KeyError) as caught:
        load_rewards(["format", f"{file}:broken"])("a", "80")
    assert caught.value.__notes__ == ["raised by the reward component 'broken'"]


@pytest.mark.parametrize(
    "value", ["None", "'1.0'", "float('nan')", "float('inf')", "[1.0]", "1j", "__import__('numpy').array([1.0])"]
)
def test_a_component_must_return_a_finite_number(tmp_path: Path, value: str) -> None:
    file = write(tmp_path / "mine.py", f"def odd(response, label):\n    return {value}\n")
    with pytest.raises(ValueError, match="is not a finite number") as caught:
        load_rewards([f"{file}:odd"])("a", "b")
    assert caught.value.__notes__ == ["raised by the reward component 'odd'"]


@pytest.mark.parametrize(
    "value",
    ["1", "True", "__import__('numpy').float32(1)", "__import__('numpy').bool_(True)", "__import__('numpy').array(1.0)"]
    + [
        "__import__('torch').tensor(1.0)",
        "__import__('decimal').Decimal('1.0')",
        "__import__('fractions').Fraction(1)",
    ],
)
def test_every_kind_of_real_number_becomes_a_float(tmp_path: Path, value: str) -> None:
    file = write(tmp_path / "mine.py", f"def one(response, label):\n    return {value}\n")
    (score,) = load_rewards([f"{file}:one"])("a", "b").values()
    assert type(score) is float
    assert score == 1.0


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, pepo_rlhf.rewards, pepo_rlhf.data\n"
        "print([m for m in ('torch', 'ray', 'vllm', 'openrlhf', 'sympy', 'datasets') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


CHOICE = choice_label("B", ["red", r"\frac{1}{2}", "no"])
LABELS = {
    "accuracy": ["80", r"\frac{1}{2}", "x"],
    "accuracy_mathruler": ["80", r"\frac{1}{2}", "x"],
    "answer": [
        "80",
        CHOICE,
        choice_label("C", None),
        choice_label("A", ["1", "2"], closest=True),
        number_label("1.2", 1),
    ],
    "choice": [CHOICE, choice_label("C", None), choice_label("C", None, closest=True)],
    "format": ["80"],
    "format_pairs": ["80"],
    "iou": [box_label([10, 20, 50, 60], (112, 112))],
    "iou50": [box_label([10, 20, 50, 60], (112, 112))],
    "label_match": [class_label(["737-700", "Boeing 737-700"])],
}
PIECES = (
    *("<think>", "</think>", "<answer>", "</answer>", "{", "}", "[", "]", "(", ")", ",", "-", ".", "/", "^", "$", "**"),
    *("\\boxed{", "\\frac{1}{2}", "\\sqrt", "B", "the answer is ", "red", "737-700", "[10, 20, 50, 60]", "10", "0"),
    *("1e999", "nan", "inf", "9" * 400, "1e-400", "\0", "\ud835", "\u202e", "\n"),
)
TEXT = st.text(st.characters()) | st.lists(st.sampled_from(PIECES) | st.text(st.characters(), max_size=3)).map("".join)
NUMBERS = st.lists(st.floats() | st.integers(), max_size=6).map(str)
RESPONSE = TEXT | (TEXT | NUMBERS).map(lambda answer: f"<think></think><answer>{answer}</answer>")


def test_every_built_in_component_has_labels_here() -> None:
    assert LABELS.keys() == COMPONENTS.keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", COMPONENTS)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(response=RESPONSE, data=st.data())
def test_any_response_scores_from_0_to_1(name: str, response: str, data: st.DataObject) -> None:
    score = COMPONENTS[name](response, data.draw(st.sampled_from(LABELS[name])))
    assert type(score) is float and math.isfinite(score) and 0.0 <= score <= 1.0

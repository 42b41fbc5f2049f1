from __future__ import annotations

import pytest

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.tasks.puzzles.choice import choice_label, choice_reward, chosen_letter, letter_of

SHAPES = ["circle", "square", "triangle", "hexagon"]
COLOURS = ["red", "blue", "green"]
NUMBERS = ["0.5", "20%", "3", r"\frac{3}{4}"]


def choose(answer: str, options: list[str] | None = SHAPES, closest: bool = False) -> str | None:
    return chosen_letter(answer, choice_label("A", options, closest))


@pytest.mark.parametrize(
    "answer",
    ["B", "b", "(B)", "[B]", "B.", "B)", "B:", " B \n", r"\boxed{B}", r"$\boxed{\text{B}}$", r"\boxed{\boxed{B}}"]
    + ["**B**", "B. square", "(B) square", "B: Square.", "b) square", "option B", "Answer: B", "The answer is B."]
    + [
        "The correct answer is (B).",
        "It has four sides, so the answer is B.",
        "Answer: (B), as it has four sides",
        "square",
        "Square.",
        r"\text{square}",
        r"\boxed{B}.",
        r"The final answer is $\boxed{B}$.",
        "Ｂ",  # full-width letter and brackets
        "（B）",
        "square (B)",
        "Answer: B. A square has four sides",
        r"\(B\)",
        r"\[\boxed{B}\]",
        '"B"',
        "'B'.",
        "`B`",
        "B。",
        "**Answer:** B",
        "**B.** square",
        "B - square",
        "B, square",
        "B\nsquare",
        "B square",
    ],
)
def test_an_option_is_chosen_by_its_letter_or_value(answer: str) -> None:
    assert choose(answer) == "B"


@pytest.mark.parametrize(
    "answer",
    ["", "A or B", "A, B", "AB", "A. B.", "because", "Beyond doubt", "the answer is a square thing", "E", "Z"]
    + ["A. square", "(C) square", "the answer is A or the answer is B", "circle or square", "pentagon", "B13", "x = B"]
    + [r"\boxed{A} or \boxed{B}", "neither A nor B", "A square", "I think so", "1"]
    + ["The answer is A or B", "Answer: A, B, C, D", "option A or B", "The answer is A? No: B", "the answer is A or b"]
    + ["A - square", "A, square", "A\nsquare", "A\nB", "'A' or 'B'", r"\(A\) or \(B\)", "**A** or **B**", "B - A"]
    + ["square (A)", r"The answer is \boxed{A} or \boxed{B}"],
)
def test_letters_in_words_two_letters_and_contradictions_choose_nothing(answer: str) -> None:
    assert choose(answer) is None


@pytest.mark.parametrize(
    "answer",
    ["B (blue)", "The answer is blue", "Answer: blue", "B. The color is blue", "B is correct", "[B] blue", "blue [B]"]
    + ["B、blue", "答案：B", "选B", "选项B", "答案是B", "b is the right answer", "B. Blue, as seen"]
    + ["The answer is (B) blue"],
)
def test_a_letter_beside_its_own_value_and_a_phrase_before_a_value_choose_it(answer: str) -> None:
    assert choose(answer, COLOURS) == "B"


@pytest.mark.parametrize(
    "answer",
    [
        "B (red)",
        "B. The color is red",
        "B is not correct",
        "B is wrong",
        "The answer is not blue",
        "[A] blue",
        "A、blue",
    ]
    + ["B. The color is not blue", "B (not blue)", "B. It isn't blue", "B. red or blue", "The answer is red or blue"]
    + ["选A或B", "blue (A)", "The answer is B is wrong", "A is correct or B is correct", "a blue car"],
)
def test_a_letter_beside_anothers_value_and_negations_choose_nothing(answer: str) -> None:
    assert choose(answer, COLOURS) is None


def test_a_letter_at_the_end_is_no_unit_of_a_value() -> None:
    assert choose("3 C", NUMBERS) == "C" and choose("3 A", NUMBERS) is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("1/2", "A"),
        (r"\frac{1}{2}", "A"),
        ("50%", "A"),
        ("20%", "B"),
        ("0.2", "B"),
        (r"20\%", "B"),
        ("20", "B"),  # a percentage may lack its sign
        ("3", "C"),
        ("x = 3", "C"),
        ("3.0", "C"),
        ("0.75", "D"),
        (r"\dfrac34", "D"),
        ("3/4", "D"),
        ("3 (C)", "C"),
        ("3 (B)", None),
        ("C (3)", "C"),
        ("B (3)", None),
        ("0.5 or 3", None),
        ("4", None),
    ],
)
def test_values_are_compared_as_mathematics(answer: str, letter: str | None) -> None:
    assert choose(answer, NUMBERS) == letter


def test_variables_tell_lines_apart() -> None:
    assert choose("y = 3", ["x = 3", "y = 3"]) == "B"
    assert choose("3", ["x = 3", "y = 3"]) is None


def test_a_letter_may_begin_an_option() -> None:
    assert choose("A large circle", ["A small circle", "A large circle"]) == "B"


def test_a_value_that_two_options_share_chooses_neither() -> None:
    assert choose("0.5", ["0.5", "1/2"]) is None
    assert choose("B", ["0.5", "1/2"]) == "B"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("C", "C"),
        ("C. 40 degrees", "C"),
        ("(C)", "C"),
        ("The answer is C", "C"),
        ("C. or D.", None),
        ("A. or B instead", None),
        ("(A) or b", None),
        ("(A) a square", "A"),
        ("40 degrees", None),
    ],
)
def test_without_known_options_only_a_letter_chooses(answer: str, letter: str | None) -> None:
    assert choose(answer, None) == letter


def test_the_closest_option_counts_where_the_label_says_so() -> None:
    assert choose("a triangel", closest=True) == "C"
    assert choose("a triangel") is None
    assert choose("", closest=True) is None, "no answer resembles an option"
    assert choose("x" * 501, closest=True) is None
    # Three edits from circle, five or more from the others.
    assert choose("circular", closest=True) == "A"


def test_of_options_as_close_the_first_counts() -> None:
    # One edit from either: r for b, or a for b.
    assert choose("bat", ["rat", "cat", "baa"], closest=True) == "A"
    assert choose("bat", ["hippopotamus", "baa", "cat"], closest=True) == "B"
    # An edit is of a character, as in a Unicode string, not of a byte: é for e is one, two letters are two.
    assert choose("émue", ["mu", "emue"], closest=True) == "B"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("I choose (B)", "B"),
        ("It should be (C), since the tall bar is blue", "C"),
        ("(B) or (C)", "B"),
        ("(z) gren", "C"),
    ],
)
def test_the_first_letter_in_brackets_comes_before_the_closest_option(answer: str, letter: str) -> None:
    colours = ["red", "blue", "green", "yellow"]
    assert choose(answer, colours, closest=True) == letter
    assert choose(answer, colours) is None


def test_the_last_single_letter_counts_where_the_label_says_so_and_options_are_not_known() -> None:
    assert choose("It cannot be A, so I take C", None, closest=True) == "C"
    assert choose("It cannot be A, so I take C", None) is None
    assert choose("The answer is B", None, closest=True) == "B"
    assert choose("nothing", None, closest=True) is None


def test_the_first_answer_counts() -> None:
    label = choice_label("B", SHAPES)
    assert choice_reward("<answer>B</answer><answer>A</answer>", label) == 1.0
    assert choice_reward("<answer>A</answer><answer>B</answer>", label) == 0.0
    assert choice_reward("B", label) == 0.0


@pytest.mark.parametrize(
    ("letter", "options"), [("E", SHAPES), ("circle", SHAPES), ("", None), ("a", None), ("AB", None)]
)
def test_a_label_needs_a_letter_of_an_option(letter: str, options: list[str] | None) -> None:
    with pytest.raises(LabelError, match="is no letter from A to"):
        choice_label(letter, options)


def test_the_letter_of_an_answer_given_as_text() -> None:
    assert letter_of("square", SHAPES) == letter_of(" square", ["circle", "square "]) == "B"
    with pytest.raises(LabelError, match="0 times among the options"):
        letter_of("pentagon", SHAPES)
    with pytest.raises(LabelError, match="2 times"):
        letter_of("3", ["3", "3"])


@pytest.mark.timeout(30)  # a pattern that tries every length would take hours
@pytest.mark.parametrize("mark", ["`", "*", '"', "\\boxed{", "(A) ", "B not ", "the answer is "])
def test_a_long_run_of_marks_chooses_nothing(mark: str) -> None:
    assert choose(mark * (20000 // len(mark))) is None

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.tasks.grounding.box import box_label, box_vote, iou, iou50_reward, iou_reward, read_box

LABEL = box_label([10, 20, 50, 60], (112, 112))
coordinates = st.integers(0, 100)
boxes = st.tuples(coordinates, coordinates, st.integers(1, 50), st.integers(1, 50)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)


def score(answer: str) -> float:
    return iou_reward(f"<think>[1, 2, 3, 4]</think><answer>{answer}</answer>", LABEL)


@pytest.mark.parametrize(
    "answer",
    [
        "[10, 20, 50, 60]",
        "(10,20,50,60)",
        "[10.0, 20., 50.00, 60]",
        "10, 20, 50, 60",
        "10 20 50 60",
        "[[10, 20, 50, 60]]",  # a list of one box
        "[[10, 20], [50, 60]]",
        "(10, 20), (50, 60)",
        '{"bbox_2d": [10, 20, 50, 60], "label": "the 3rd of 4 circles"}',
        '```json\n[{"bbox_2d": [10, 20, 50, 60], "label": "7"}]\n```',
        r"\boxed{[10, 20, 50, 60]}",
        r"\boxed{10, 20, 50, 60}",
        r"$\boxed{10, 20, 50, 60}$.",
        "[10 20 50 60]",
        "(10,20) to (50,60)",
        "(10, 20) - (50, 60)",
        "[10, 20] and [50, 60]",
        "The circle is at [10, 20, 50, 60].",
        "[50, 60, 10, 20]",  # the other corner first
        "[50, 20, 10, 60]",
    ],
)
def test_the_box_scores_one_however_it_is_written(answer: str) -> None:
    assert score(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "none",
        "[10, 20, 50]",
        "[10, 20, 50, 60, 70]",
        "[10%, 20%, 50%, 60%]",
        "10% 20% 50% 60%",
        "[10, 20, 50, 60]%",
        r"[10, 20, 50, 60] \%",
        "[10, 20, 50, 60] percent",
        "[[10, 20], [50, 60]]%",
        "(10, 20), (50, 60), (70, 80)",
        "10, 20, 50, 60, 70",
        "(10, 20) or (50, 60)",
        "[10px, 20px, 50px, 60px]",
        "[x1, y1, x2, y2]",
        "[10, 20, 50, 60] or [10, 20, 50, 60]",
        "[[10, 20, 50, 60], [1, 2, 3, 4]]",
        "[10, 20, 50, nan]",
        "[inf, inf, inf, inf]",
        r"[\frac{10}{1}, 20, 50, 60]",
        "10205060",
        "[10, 20, 10, 60]",  # without area
        "[90, 90, 100, 100]",  # elsewhere
        "[0.1, 0.2, 0.5, 0.6]",  # shares of another frame
    ],
)
def test_no_box_several_boxes_and_other_units_score_zero(answer: str) -> None:
    assert score(answer) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.timeout(10)
def test_long_runs_of_spaces_and_brackets_are_read_at_once() -> None:
    gap = " " * 10_000
    for answer in (f"1{gap}2{gap}3{gap}x", f"[1{gap}2{gap}3{gap}x", f"[1,2]{gap}x", "[" * 10_000, "]" * 10_000):
        assert read_box(answer) is None
    assert read_box(f"1{gap}2{gap}3{gap}4") == (1, 2, 3, 4)


def test_overlap_by_hand() -> None:
    # 40 x 40 each, shifted by 20: the intersection is 20 x 40 = 800, the union 2 x 1600 - 800 = 2400.
    assert score("[30, 20, 70, 60]") == pytest.approx(1 / 3, abs=1e-6)
    # Shifted by 10: 30 x 40 = 1200 of 2000.
    assert score("[20, 20, 60, 60]") == 0.6
    # All of a box four times as wide.
    assert score("[10, 20, 170, 60]") == 0.25


def test_iou50_is_above_one_half() -> None:
    def at_50(answer: str) -> float:
        return iou50_reward(f"<answer>{answer}</answer>", LABEL)

    assert at_50("[20, 20, 60, 60]") == 1.0
    assert at_50("[10, 20, 90, 60]") == 0.0  # exactly one half
    assert at_50("[30, 20, 70, 60]") == 0.0


def test_the_first_answer_counts() -> None:
    both = "<answer>[90, 90, 100, 100]</answer><answer>[10, 20, 50, 60]</answer>"
    assert iou_reward(both, LABEL) == 0.0
    assert iou_reward("[10, 20, 50, 60]", LABEL) == 0.0


@given(boxes, boxes)
def test_overlap_is_symmetric_and_bounded(first, second) -> None:
    assert iou(first, second) == iou(second, first)
    assert 0.0 <= iou(first, second) <= 1.0
    assert iou(first, first) == 1.0


@given(boxes, boxes, st.floats(0.1, 10), st.floats(0.1, 10))
def test_overlap_does_not_depend_on_the_frame(first, second, across, down) -> None:
    def scaled(box):
        return box[0] * across, box[1] * down, box[2] * across, box[3] * down

    assert iou(scaled(first), scaled(second)) == pytest.approx(iou(first, second), abs=1e-9)


@given(boxes, st.permutations([0, 1]), st.permutations([0, 1]))
def test_any_two_opposite_corners_name_a_box(box, columns, rows) -> None:
    x, y = (box[0], box[2]), (box[1], box[3])
    answer = f"[{x[columns[0]]}, {y[rows[0]]}, {x[columns[1]]}, {y[rows[1]]}]"
    assert read_box(answer) == box


def test_a_label_carries_its_frame() -> None:
    assert json.loads(box_label([1.04, 2, 3, 4], (1000, 1000))) == {"box": [1.0, 2.0, 3.0, 4.0], "frame": [1000, 1000]}


@pytest.mark.parametrize("box", [[1, 2, 3], [3, 2, 1, 4], [1, 2, 1, 4], [0, 0, 500, 100], [-50, 0, 50, 50]])
def test_a_label_is_refused_for_a_box_that_cannot_be_one(box: list[float]) -> None:
    with pytest.raises(LabelError, match="box"):
        box_label(box, (112, 112))


def test_a_plain_label_is_an_error_and_no_wrong_answer() -> None:
    with pytest.raises(ValueError, match="has no 'box'"):
        iou_reward("<answer>[10, 20, 50, 60]</answer>", "[10, 20, 50, 60]")


def test_equal_boxes_share_a_vote_however_they_are_written() -> None:
    label = box_label([1, 2, 3, 4], (9, 9))
    assert box_vote("(3, 4), (1, 2)", label, True) == box_vote("[1, 2, 3.0, 4]", label, False)
    assert box_vote("no box", label, False) is None


@pytest.mark.parametrize(
    "answer", ["[10，20，110，220]", "［10，20，110，220］", "（10，20），（110，220）", "10，20，110，220"]
)
def test_full_width_boxes_are_read(answer: str) -> None:
    assert read_box(answer) == (10, 20, 110, 220)

"""Grounding rewards: how well does the box of a response cover the object's box?

Both boxes are in one coordinate frame, which the prompt states and the label carries: the absolute pixels of the
resized image, or 0 to 1000 along either side. IoU does not change when x or y is scaled, so the frame decides what an
answer means, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pepo_rlhf.data.bad_rows import LabelError
from pepo_rlhf.data.labels import require_label
from pepo_rlhf.rewards.accuracy import extract_answer
from pepo_rlhf.rewards.notation import fold_width

Box = tuple[float, float, float, float]

# White space belongs to the separators alone, or a long run of it could be shared out in too many ways.
_NUMBER = r"([-+]?\d+(?:\.\d*)?|[-+]?\.\d+)"
_FOUR = r"(?:\s*,\s*|\s+)".join([_NUMBER] * 4)
_BRACKETS = re.compile(rf"[(\[]\s*{_FOUR}\s*[)\]]")
_PAIR = re.compile(rf"[(\[]\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[)\]]")
_CORNERS = re.compile(rf"{_PAIR.pattern}\s*(?:(?:,|to|and|-)\s*)?{_PAIR.pattern}")
_BARE = re.compile(rf"\s*{_FOUR}\s*|[\s$]*\\boxed\s*\{{\s*{_FOUR}\s*\}}[\s$.]*")
_PERCENT = re.compile(r"[)\]]\s*(?:\\?%|per ?cent)", re.IGNORECASE)
# Equal overlaps by different boxes differ in the last bit, which a division by the group's spread would blow up.
_DECIMALS = 6


def iou_reward(response: str, label: str) -> float:
    """Return the intersection over union, 0 to 1, of the box in the response's first answer and the label's box.

    It is 0 where the answer holds no box, several, or one with units such as %. Raise ValueError for a label that
    `box_label` did not make.
    """
    truth = require_label(label, "box")["box"]
    answer = read_box(extract_answer(response) or "")
    return 0.0 if answer is None else round(iou(answer, tuple(truth)), _DECIMALS)


def iou50_reward(response: str, label: str) -> float:
    """Return 1.0 if the overlap is above one half, else 0.0: the accuracy that grounding benchmarks report."""
    return float(iou_reward(response, label) > 0.5)


def box_label(box: Sequence[float], frame: tuple[int, int]) -> str:
    """Return the label of a box in a frame.

    Args:
        box: x1, y1, x2, y2 in the frame's units.
        frame: largest x and y: width and height of the resized image in pixels, or 1000 and 1000.

    Raises:
        LabelError: for a box without area, or one that leaves the frame by more than a hundredth of it.
    """
    if len(box) != 4:
        raise LabelError(f"a box has four coordinates, not {list(box)}; write x1, y1, x2, y2")
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    if not (x1 < x2 and y1 < y2):
        raise LabelError(f"the box {list(box)} has no area; write x1, y1, x2, y2, top left corner first")
    if x1 < -frame[0] / 100 or y1 < -frame[1] / 100 or x2 > 1.01 * frame[0] or y2 > 1.01 * frame[1]:
        raise LabelError(f"the box {list(box)} leaves the frame of {frame[0]} x {frame[1]}; is it in other units?")
    return json.dumps({"box": [x1, y1, x2, y2], "frame": list(frame)})


def read_box(answer: str) -> Box | None:
    """Return the one box of a text: [x1, y1, x2, y2], two corners or four bare numbers; None for none or several.

    Any two opposite corners name a box, whichever comes first.
    """
    answer = fold_width(answer)
    found = _BRACKETS.findall(answer) + _CORNERS.findall(answer)
    if not found and (match := _BARE.fullmatch(answer)):
        found = [[number for number in match.groups() if number is not None]]
    if len(found) != 1 or len(_PAIR.findall(answer)) > 2 or _PERCENT.search(answer):
        return None
    x1, y1, x2, y2 = map(float, found[0])
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def box_vote(answer: str, label: str, right: bool) -> str | None:
    """Return the answer's box, by which a majority is counted; None if it holds none."""
    box = read_box(answer)
    return None if box is None else str(list(box))


def iou(first: Box, second: Box) -> float:
    """Return area of the intersection / area of the union of boxes x1 <= x2, y1 <= y2; 0 for two without area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    union = _area(first) + _area(second) - intersection
    return intersection / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])

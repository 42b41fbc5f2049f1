"""Few-shot classification: FGVC Aircraft, Flowers102, and scikit-learn's digits, a real set small enough for a CPU.

Columns as the hub had them in 2026:
HuggingFaceM4/FGVC-Aircraft                image, variant and manufacturer (classes); published as a script, so name its
                                           parquet files or a copy as the source
Multimodal-Fatima/OxfordFlowers_{split}    image, label (classes with the flowers' names)
Any file or folder with image and label, the latter a name, will do.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Row
from pepo_rlhf.data.sources import Record
from pepo_rlhf.rewards.label_match import class_label
from pepo_rlhf.tasks.frame import Frame
from pepo_rlhf.tasks.task import Task

_DIGIT_SCALE = 14  # 8 x 8 pixels become 112 x 112, which is 4 x 4 visual tokens of Qwen's
_HELD_OUT = 5  # every fifth digit is a test digit


def _asking(question: str) -> Callable[[Record, Frame], list[Row]]:
    def make_rows(record: Record, frame: Frame) -> list[Row]:
        columns = {
            "problem": f"{question} Answer with its name alone.",
            "images": [record.fields.get("image")],
            "answer": class_label(_names(record)),
        }
        return [row_from_record(columns, record.folder, record.source, record.datasource)]

    return make_rows


def _names(record: Record) -> list[str]:
    match record.fields:
        case {"variant": str(variant), "manufacturer": str(manufacturer)}:
            return [variant, f"{manufacturer} {variant}"]
        case {"variant": str(name)} | {"label": str(name)}:
            return [name]
    raise ValueError(
        "no class name; looked for a text or a class with names in 'label' or 'variant', and found the columns "
        f"{sorted(record.fields)}"
    )


def _digits(split: str) -> Iterator[Record]:
    """scikit-learn's 1797 digits, scaled up; every fifth is held out as the split test."""
    if split not in ("train", "test"):
        raise ValueError(f"digits has the splits train and test, not {split!r}")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ValueError("digits come with scikit-learn, which is not installed: pip install scikit-learn") from error
    digits = load_digits()
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if (number % _HELD_OUT == 0) == (split == "test"):
            # 17 shades of ink, 0 to 16, on white.
            picture = Image.fromarray((255 - pixels * 255 / 16).astype("uint8"))
            picture = picture.resize((8 * _DIGIT_SCALE, 8 * _DIGIT_SCALE), Image.Resampling.NEAREST)
            encoded = io.BytesIO()
            picture.save(encoded, "PNG")
            fields = {"image": encoded.getvalue(), "label": str(digit)}
            yield Record(fields, Path.cwd(), f"digits[{split}]:row {number}", "digits")


FGVC_AIRCRAFT = Task(
    name="fgvc_aircraft",
    hub_id="HuggingFaceM4/FGVC-Aircraft",
    make_rows=_asking("Which aircraft variant is this?"),
    verifiers=("label_match",),
)
FLOWERS102 = Task(
    name="flowers102",
    hub_id="Multimodal-Fatima/OxfordFlowers_{split}",
    make_rows=_asking("Which species of flower is this?"),
    verifiers=("label_match",),
)
DIGITS = Task(name="digits", generate=_digits, make_rows=_asking("Which digit is this?"), verifiers=("label_match",))

"""scikit-learn's handwritten digits: a real data set that is small enough for a CPU."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from pepo_rlhf.data.row import Record

_DIGIT_SCALE = 14  # 8 x 8 pixels become 112 x 112, which is 4 x 4 visual tokens of Qwen's
_HELD_OUT = 5  # every fifth digit is a test digit


def generate_digits(split: str) -> Iterator[Record]:
    """Yield scikit-learn's 1797 digits, scaled up; every fifth is held out as the split test."""
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

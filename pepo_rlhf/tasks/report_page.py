"""The dataset report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from PIL import Image, ImageDraw

from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.labels import read_label
from pepo_rlhf.tasks.report import SplitReport, duplicates

_PAGE = Path(__file__).with_name("report.html")
_NUM_PROBLEMS, _NUM_BINS, _SIDE = 50, 12, 240


def render(task: str, reports: list[SplitReport], limit: int | None) -> str:
    """Return the page: for each split the counts, lengths, what was dropped and why, and the first rows."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"bins": _bins, "data_uri": _data_uri}
    template = environment.from_string(_PAGE.read_text(encoding="utf-8"))
    return template.render(
        task=task, reports=reports, limit=limit, duplicates=duplicates(reports), num_problems=_NUM_PROBLEMS
    )


def _bins(values: list[int]) -> list[tuple[str, int, float]]:
    """Return (range, count, share of the fullest bin in %) of bins of equal width."""
    low, width = min(values), (max(values) - min(values)) // _NUM_BINS + 1
    counts = [0] * ((max(values) - low) // width + 1)
    for value in values:
        counts[(value - low) // width] += 1
    return [
        (f"{low + width * n} to {low + width * (n + 1) - 1}", count, round(100 * count / max(counts), 1))
        for n, count in enumerate(counts)
    ]


def _data_uri(image: str | bytes, label: str) -> str:
    """Return the image, shrunk, with the label's box drawn in, so that a box in the wrong frame shows at once."""
    picture = decode_image(image)
    fields = read_label(label)
    if "box" in fields:
        scale = (picture.width / fields["frame"][0], picture.height / fields["frame"][1]) * 2
        box = [value * factor for value, factor in zip(fields["box"], scale, strict=True)]
        ImageDraw.Draw(picture).rectangle(box, outline="magenta", width=max(1, picture.width // 100))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"

"""The dataset report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io

from jinja2 import Environment, StrictUndefined
from PIL import Image, ImageDraw

from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.labels import read_label
from pepo_rlhf.data.row import Row
from pepo_rlhf.tasks.report import SplitReport, duplicates, table

_NUM_PROBLEMS, _NUM_BINS, _SIDE = 50, 12, 240

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ task }}: dataset report</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; border-bottom: 1px solid #ddd; }
td + td { text-align: right; font-variant-numeric: tabular-nums; }
.samples { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 19rem; }
figcaption { font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.bar { background: #47a; height: .7rem; } .bins { display: grid; grid-template-columns: 8rem 1fr; gap: .1rem .5rem; }
</style>
<h1>{{ task }}: dataset report</h1>
{% for split in splits %}
<h2>{{ split.name }}</h2>
<table>{% for name, value in split.table %}<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>
{% for title, bins in split.histograms %}
<h3>{{ title }}</h3>
<div class="bins">
{% for name, count, share in bins %}<span>{{ name }}</span><div class="bar" style="width: {{ share }}%"
 title="{{ count }}"></div>{% endfor %}
</div>
{% endfor %}
{% for reason, problems in split.problems %}
<details><summary>{{ reason }}: {{ problems | length }}</summary>
<ul>{% for problem in problems[:num_problems] %}<li>{{ problem }}</li>{% endfor %}
{% if problems | length > num_problems %}<li>and {{ problems | length - num_problems }} more</li>{% endif %}</ul>
</details>
{% endfor %}
<h3>first rows</h3>
<div class="samples">
{% for sample in split.samples %}
<figure>{% for image in sample.images %}<img alt="" src="{{ image }}">{% endfor %}
<figcaption>{{ sample.prompt }}

label: {{ sample.label }}</figcaption></figure>
{% endfor %}
</div>
{% endfor %}
<h2>Duplicates, by pixels and question</h2>
<table>{% for name, count in duplicates.items() %}<tr><td>{{ name }}</td><td>{{ count }}</td></tr>{% endfor %}</table>
</html>
"""


def render(task: str, reports: list[SplitReport], limit: int | None) -> str:
    """Return the page: for each split the counts, lengths, what was dropped and why, and the first rows."""
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
    splits = [
        {
            "name": report.split,
            "table": table(report, limit),
            "histograms": [
                (title, _bins(values))
                for title, values in (
                    ("visual tokens of a prompt", report.visual_tokens),
                    ("tokens of a prompt", report.prompt_tokens),
                )
                if values
            ],
            "problems": [
                (reason, problems)
                for reason, problems in [*report.dropped.items(), ("answers compared as text only", report.only_text)]
                if problems
            ],
            "samples": [
                {"prompt": row.prompt, "label": row.label, "images": [_data_uri(row, image) for image in row.images]}
                for row in report.samples
            ],
        }
        for report in reports
    ]
    return template.render(task=task, splits=splits, duplicates=duplicates(reports), num_problems=_NUM_PROBLEMS)


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


def _data_uri(row: Row, image: str | bytes) -> str:
    """Return the image, shrunk, with the label's box drawn in, so that a box in the wrong frame shows at once."""
    picture = decode_image(image)
    fields = read_label(row.label)
    if "box" in fields:
        scale = (picture.width / fields["frame"][0], picture.height / fields["frame"][1]) * 2
        box = [value * factor for value, factor in zip(fields["box"], scale, strict=True)]
        ImageDraw.Draw(picture).rectangle(box, outline="magenta", width=max(1, picture.width // 100))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"

"""Render the page of `pepo_rlhf.credit`: responses with all signals side by side, in one HTML file without scripts."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from PIL import Image
from scipy.stats import rankdata

from pepo_rlhf.report.page import FOLDER, policy_hash
from pepo_rlhf.report.rounding import rounded
from pepo_rlhf.report.tokens import excerpts

_MAX_PIXELS, _NUM_SHADES = 256, 10


def render_credit(model: str, text: str, questions: list[dict[str, Any]]) -> str:
    """Return the page. Everything of a user's goes in through Jinja's autoescaping.

    Args:
        model: name of the model.
        text: what the command prints.
        questions: each with `prompt`, `pictures`, and `responses` with `texts` and `rows`, values [T] by label.
    """
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    style = (FOLDER / "credit.css").read_text(encoding="utf-8")
    shown = [
        {
            "excerpt": excerpt,
            "pictures": [_data_uri(picture) for picture in question["pictures"]],
            "responses": [_rows(response) for response in question["responses"]],
        }
        for question, excerpt in zip(questions, excerpts([each["prompt"] for each in questions]), strict=True)
    ]
    return environment.get_template("credit.html").render(
        model=model, text=text, questions=shown, style=Markup(style), style_hash=policy_hash(style)
    )


def _rows(response: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row of tokens for each signal, each token with a shade by its rank in the response."""
    rows = []
    for label, values in response["rows"].items():
        shades = _shades(values)
        tokens = [
            {"text": text, "shade": shade, "value": "not measured" if np.isnan(value) else rounded(float(value))}
            for text, shade, value in zip(response["texts"], shades, values, strict=True)
        ]
        rows.append({"label": label.replace("_", " "), "tokens": tokens})
    return rows


def _shades(values: np.ndarray) -> list[int]:
    """Return 0 to _NUM_SHADES for each value: ranks, since a few large values would take the shade from all others.

    A token that was not measured, nan, has none.
    """
    share = (rankdata(values, nan_policy="omit") - 1) / max(np.isfinite(values).sum() - 1, 1)
    return [round(float(each) * _NUM_SHADES) for each in np.nan_to_num(share)]


def _data_uri(picture: Image.Image) -> str:
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((_MAX_PIXELS, _MAX_PIXELS))
    small.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

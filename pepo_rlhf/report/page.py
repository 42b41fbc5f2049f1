"""Render the report as one HTML file of markup, style, scripts and data that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pepo_rlhf.report.tokens import TokenPages

FOLDER = Path(__file__).parent / "assets"
# In the order in which they build on each other; together they are one script.
_SCRIPTS = ("dom.js", "chart.js", "overview.js", "quantities.js", "group.js", "table.js", "report.js")


def render(title: str, overview: dict[str, Any], tokens: TokenPages) -> str:
    """Return the page.

    Args:
        title: of the window.
        overview: `runs`, one or two as `runs.read_run` gives them; for two also `settings` and `differences`, what
            `runs.differing_settings` and `runs.score_differences` give.
        tokens: what the prompts' view shows; empty for a page without one.

    Data goes in through Jinja's `tojson`, which leaves no `<` in it, and into elements that are not run; the content
    security policy lets nothing run but the script whose hash it names, and nothing be fetched.
    """
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    style = _read("report.css")
    script = "\n".join(_read(name) for name in _SCRIPTS)
    page = {
        "overview": overview,
        "batch_sizes": tokens.batch_sizes,
        "groups": tokens.groups,
        "vocabulary": tokens.vocabulary,
        "ranges": tokens.ranges,
    }
    return environment.get_template("template.html").render(
        title=title,
        style=Markup(style),
        style_hash=policy_hash(style),
        script=Markup(script),
        script_hash=policy_hash(script),
        page=page,
        details=tokens.details,
        images=tokens.images,
    )


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def policy_hash(text: str) -> str:
    """Return the source expression of the content security policy that allows exactly this text between its tags."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""Hooks of mkdocs: pages that lie outside docs/, links between the two, and a page of API reference a package."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages that lie elsewhere in the repository, and the API reference."""
    for source, page in OUTSIDE.items():
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relink(text, REPOSITORY / source, page)))
    packages = sorted(path.parent.name for path in (REPOSITORY / "pepo_rlhf").glob("*/__init__.py"))
    for package in packages:
        content = f"# {package}\n\n::: pepo_rlhf.{package}\n"
        files.append(File.generated(config, f"reference/{package}.md", content=content))
    index = "# API reference\n\n" + "".join(f"- [pepo_rlhf.{package}]({package}.md)\n" for package in packages)
    files.append(File.generated(config, "reference/index.md", content=index))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links of pages in docs/ to files of the repository into links of the site."""
    inside = page.file.generated_by is None
    return _relink(markdown, REPOSITORY / "docs" / page.file.src_uri, page.file.src_uri) if inside else markdown


def _relink(text: str, source: Path, page: str) -> str:
    """Return the text with links that hold on the site; those to other files of the repository become their words."""

    def link(found: re.Match) -> str:
        image, words, target, anchor = found.groups()
        path = Path(os.path.normpath(source.parent / target))
        if not path.exists():
            return found[0]  # which mkdocs reports
        name = path.relative_to(REPOSITORY).as_posix()
        place = name.removeprefix("docs/") if name.startswith("docs/") else OUTSIDE.get(name)
        if place is None:
            return words
        return f"{image}[{words}]({os.path.relpath(place, Path(page).parent)}{anchor or ''})"

    return _LINK.sub(link, text)

"""Records of FGVC Aircraft and Flowers102.

Columns as the hub had them in 2026:
HuggingFaceM4/FGVC-Aircraft                image, variant and manufacturer (classes); published as a script, so name its
                                           parquet files or a copy as the source
Multimodal-Fatima/OxfordFlowers_{split}    image, label (classes with the flowers' names)
Any file or folder with image and label, the latter a name, will do.
"""

from __future__ import annotations

from collections.abc import Callable

from pepo_rlhf.data.records import row_from_record
from pepo_rlhf.data.row import Record, Row
from pepo_rlhf.tasks.classification.label_match import class_label
from pepo_rlhf.tasks.frame import Frame


def asking(question: str) -> Callable[[Record, Frame], list[Row]]:
    """Return an adapter that asks this question about the image; it raises ValueError for a record without a name."""

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

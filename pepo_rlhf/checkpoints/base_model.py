"""The model below adapters: checkpoints do not hold it, and mean nothing on top of another one."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


@functools.cache
def identify(model: str) -> dict[str, str]:
    """Return what tells that a model is the same.

    Args:
        model: a folder, of whose weights and configuration this is the SHA-256 of each file; or a name on the Hugging
            Face hub, of which it is the commit in the cache, which names the content of every file.
    """
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache  # takes half a second

        path = try_to_load_from_cache(model, "config.json")
        return {"commit": Path(path).parent.name if isinstance(path, str) else "unknown"}
    files = sorted([folder / "config.json", *folder.glob("*.safetensors")])
    return {file.name: _sha256(file) for file in files}


def difference(saved: dict[str, str], model: str) -> str | None:
    """Return the first file, or the commit, in which `model` is not the one that was saved; None if it is the same."""
    present = identify(model)
    return next((name for name in sorted({*saved, *present}) if saved.get(name) != present.get(name)), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

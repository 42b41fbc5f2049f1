"""Data: rows of images, prompt and label from every schema in use, checked as they are loaded."""

from pepo_rlhf.data.images import decode_image
from pepo_rlhf.data.load import LoadedRows, load_rows
from pepo_rlhf.data.prompt import INSTRUCTION, build_messages
from pepo_rlhf.data.row import Row

__all__ = ["INSTRUCTION", "LoadedRows", "Row", "build_messages", "decode_image", "load_rows"]

"""Length of a prompt in tokens, before an engine is asked it."""

from __future__ import annotations

from typing import Any, NamedTuple

from PIL import Image

from pepo_rlhf.data.bad_rows import BadText, TooLong
from pepo_rlhf.data.pixel_limits import pixel_limits
from pepo_rlhf.data.prompt import encode_prompt, render_prompt
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row
from pepo_rlhf.data.vision_tokens import vision_token_ids


class Length(NamedTuple):
    """Tokens of a prompt: in total, and those of its images."""

    total: int
    visual: int


class PromptMeasure:
    """Measures prompts as trainer and engine will encode them.

    Most processors know how many tokens an image of some size makes, so that only the text is encoded, beside the first
    image, on which is counted what the processor writes around it. Other processors encode every image.

    Args:
        processor: of the model.
        max_tokens: longest prompt that leaves room for the response, visual tokens included.
        pixels: arguments of the processor's call, from `pixel_limits`.
    """

    def __init__(self, processor: Any, max_tokens: int, pixels: dict[str, int]) -> None:
        self.processor, self.max_tokens, self.pixels = processor, max_tokens, pixels
        # vLLM's name for the same question; Mistral's processor counts the ends of rows among an image's tokens.
        self._knows_sizes = hasattr(processor, "_get_num_multimodal_tokens") and not hasattr(
            processor, "image_break_token"
        )
        self._around: Length | None = None

    def require_fit(self, row: Row, pictures: list[Image.Image]) -> Length:
        """Return the length of a row's prompt; pictures: its images, decoded.

        Raises:
            TooLong: if the prompt leaves no room for the response.
            BadText: if the model's chat template leaves no token for an image, or its processor cannot encode the row.
        """
        try:
            length = self._length(row, pictures)
        except (ValueError, IndexError, StopIteration) as problem:
            raise BadText(f"{row.source}: the model's processor cannot encode it: {problem}") from problem
        if row.images and not length.visual:
            raise BadText(
                f"{row.source}: the chat template leaves no token for its image; see --actor.model_name_or_path"
            )
        if length.total > self.max_tokens:
            raise TooLong(
                f"{row.source}: a prompt of {length.total} tokens ({length.visual} visual), where {self.max_tokens} "
                "leave room for the response; raise --data.max_len, lower --rollout.max_new_tokens or "
                "--data.max_pixels, or drop the row"
            )
        return length

    def _length(self, row: Row, pictures: list[Image.Image]) -> Length:
        if not (pictures and self._knows_sizes):
            return self._encoded(row, pictures)
        around = self._around or self._measure_around(pictures[0])
        by_sizes = self._by_sizes(row, pictures)
        return Length(*(tokens + len(pictures) * more for tokens, more in zip(by_sizes, around, strict=True)))

    def _measure_around(self, picture: Image.Image) -> Length:
        """Return what encoding makes of one image beyond its size: its start and end, less the text's placeholder."""
        row = Row(f"{IMAGE_PLACEHOLDER}What is this?", ("image",), label="", source="", datasource="")
        encoded, by_sizes = self._encoded(row, [picture]), self._by_sizes(row, [picture])
        self._around = Length(encoded.total - by_sizes.total, encoded.visual - by_sizes.visual)
        return self._around

    def _encoded(self, row: Row, pictures: list[Image.Image]) -> Length:
        token_ids, _ = encode_prompt(self.processor, render_prompt(self.processor, row), pictures, self.pixels)
        placeholders = vision_token_ids(self.processor)
        return Length(len(token_ids), sum(token_id in placeholders for token_id in token_ids))

    def _by_sizes(self, row: Row, pictures: list[Image.Image]) -> Length:
        """Return the tokens of the text with one placeholder an image, and of images of these sizes."""
        text = self.processor.tokenizer(render_prompt(self.processor, row), add_special_tokens=False)["input_ids"]
        sizes = [(picture.height, picture.width) for picture in pictures]
        visual = sum(self.processor._get_num_multimodal_tokens(sizes, **self.pixels)["num_image_tokens"])
        return Length(len(text) + visual, visual)


def load_measure(model: str, max_tokens: int, min_pixels: int | None, max_pixels: int | None) -> PromptMeasure:
    """Return the measure of a model's processor; model: a folder or a hub id.

    Raises:
        ValueError: for pixel limits that the processor does not have.
    """
    from transformers import AutoProcessor

    # pepo_rlhf.compat blocks code that comes with a model unless --trust_remote_code allows it.
    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    return PromptMeasure(processor, max_tokens, pixel_limits(processor, min_pixels, max_pixels))

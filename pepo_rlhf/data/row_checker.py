"""The one check of a row, before training (`train`, `check`) and while a data set is prepared or evaluated on."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from pepo_rlhf.data.bad_rows import BadImage, BadRow, BadText, LabelError, PlaceholderMismatch
from pepo_rlhf.data.fetch import fetch_image, is_url
from pepo_rlhf.data.images import decode_image, shown
from pepo_rlhf.data.row import IMAGE_PLACEHOLDER, Row

_MAX_ASPECT_RATIO = 200  # Qwen's processors refuse more

# A row of a source, or what is wrong with the record that should be one.
Problem = Row | ValueError


@dataclass(frozen=True, kw_only=True)
class RowChecker:
    """Checks rows one by one.

    image_root: folder that image files must lie in, links resolved
    max_images: largest number of images of a row; None sets no limit
    reserved_tokens: placeholders of the model and tokens of its chat template, which a text may not contain
    fetch_urls: whether images that are named by a URL are downloaded
    """

    image_root: str
    max_images: int | None = None
    reserved_tokens: Collection[str] = ()
    fetch_urls: bool = False

    def check(self, row: Problem) -> tuple[Row, list[Image.Image]]:
        """Return the row as it is trained on, and its decoded images.

        The row that is returned has a placeholder for each image, and bytes in place of URLs. Raise the ValueError that
        stands for a record, or BadRow if the row cannot be trained on; the message names the row, and the exception's
        `reason` says what is wrong.
        """
        if isinstance(row, ValueError):
            raise row
        self._check_texts(row)
        if self.max_images is not None and len(row.images) > self.max_images:
            raise BadRow(
                f"{row.source}: {len(row.images)} images, where --data.max_images_per_prompt allows {self.max_images}; "
                "raise it or drop the row"
            )
        loaded = [self._load_image(image, row.source) for image in row.images]
        return _place_images(replace(row, images=tuple(image for image, _ in loaded))), [
            picture for _, picture in loaded
        ]

    def _check_texts(self, row: Row) -> None:
        text = f"{row.system}\n{row.prompt}\n{row.instruction}\n{row.label}"
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadText(f"{row.source}: half of a surrogate pair in its text ({error}); write it again") from error
        if "\0" in text:
            raise BadText(
                f"{row.source}: a null byte in its text, as in a damaged file; write it again or drop the row"
            )
        if _is_blank(row.prompt.replace(IMAGE_PLACEHOLDER, "")):
            raise BadText(f"{row.source}: the prompt is empty; write the problem's text or drop the row")
        if IMAGE_PLACEHOLDER in row.system:
            raise PlaceholderMismatch(
                f"{row.source}: {IMAGE_PLACEHOLDER} in the system message, where no image stands; move it to the prompt"
            )
        if _is_blank(row.label):
            raise LabelError(
                f"{row.source}: the label is missing or empty; fill 'answer' or 'solution', or drop the row"
            )
        for token in self.reserved_tokens:
            if token in text:
                raise BadText(
                    f"{row.source}: {token} in its text belongs to the model; write {IMAGE_PLACEHOLDER} where an image "
                    "stands, and leave out what the chat template writes"
                )

    def _load_image(self, image: str | bytes, source: str) -> tuple[str | bytes, Image.Image]:
        """Return the path or the bytes of an image (bytes for a URL), and the image decoded."""
        url = image if isinstance(image, str) and is_url(image) else None
        if url and not self.fetch_urls:
            raise BadImage(
                f"{source}: {shown(url)} is not fetched; set --data.fetch_urls, or download it and name the file"
            )
        try:
            image = fetch_image(url) if url else image
            if isinstance(image, str):
                require_file_inside(image, self.image_root)
            picture = decode_image(image)
        except ValueError as error:
            problem = f"{shown(url)}: {error}; mend the URL" if url else f"{error}; mend the image or its path"
            hint = "" if url else " (a relative path starts at the data file's folder)"
            raise BadImage(f"{source}: {problem}{hint}") from error
        if max(picture.size) > _MAX_ASPECT_RATIO * min(picture.size):
            raise BadImage(
                f"{source}: an image of {picture.width} x {picture.height} pixels is too narrow; its sides may differ "
                f"by a factor of {_MAX_ASPECT_RATIO} at most"
            )
        return image, picture


def require_file_inside(image: str, root: str) -> None:
    """Raise ValueError for a path outside `root`, and for one that is not a file.

    A data set that comes from elsewhere must not name files of this machine: what an image shows goes into responses.
    """
    # os.path.realpath and not Path.resolve, which raises RuntimeError for links in a circle.
    target = os.path.realpath(image)
    if not os.path.exists(target):
        return  # decode_image has the better message
    if not Path(target).is_relative_to(os.path.realpath(root)):
        raise ValueError(
            f"image file {shown(image)} lies outside {root} (at {shown(target)}); if that is meant, set "
            "--data.image_root to a folder that holds both"
        )
    if not os.path.isfile(target):  # reading a named pipe would never end
        raise ValueError(f"image file {shown(image)} is a folder or a device, not a file")


def _is_blank(text: str) -> bool:
    """Return whether nobody can see the text: zero-width spaces, byte order marks and control characters are blank."""
    return not any(character.isprintable() and character != " " for character in text)


def _place_images(row: Row) -> Row:
    placeholders = row.prompt.count(IMAGE_PLACEHOLDER)
    if placeholders == 0 and row.images:
        return replace(row, prompt=f"{IMAGE_PLACEHOLDER * len(row.images)}\n{row.prompt}")
    if placeholders != len(row.images):
        raise PlaceholderMismatch(
            f"{row.source}: {placeholders} {IMAGE_PLACEHOLDER} in the prompt for {len(row.images)} images; write one "
            "for each image, or none at all to have them put at the front"
        )
    return row

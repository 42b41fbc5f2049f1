"""Images of a row, decoded the one way that rollout and training share."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from PIL import ExifTags, Image, UnidentifiedImageError

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
# Pillow's decoders answer damaged data with any of these.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, RuntimeError, struct.error),
    *(AttributeError, LookupError, TypeError, ArithmeticError),
)
# What turns a picture of an EXIF orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(image: str | bytes) -> Image.Image:
    """Decode a file or encoded bytes to RGB, upright, all of it at once; of an animation, its first frame.

    Only plain raster formats are opened: Pillow would hand others to programs, EPS to Ghostscript.
    Transparent pixels become white: geometry diagrams are black lines on a transparent ground, which dropping the
    alpha channel would turn into black on black. Raise ValueError that says what is wrong with the image.
    """
    name = f"image file {shown(image)}" if isinstance(image, str) else f"image of {len(image)} bytes"
    try:
        with Image.open(image if isinstance(image, str) else io.BytesIO(image), formats=_FORMATS) as opened:
            opened.load()
            upright = opened.transpose(_TURNS[turn]) if (turn := _orientation(opened)) in _TURNS else opened.copy()
    except FileNotFoundError as error:
        raise ValueError(f"{name} does not exist") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image that can be read, which are {', '.join(_FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large to be decoded ({error}); make it smaller") from error
    except _DAMAGED as error:
        raise ValueError(f"{name} cannot be decoded: {getattr(error, 'strerror', None) or error}") from error
    return _to_rgb(upright, name)


def orientation_of(image: str | bytes) -> int:
    """Return the EXIF orientation of a file or encoded bytes that `decode_image` decodes, 1 to 8."""
    with Image.open(image if isinstance(image, str) else io.BytesIO(image), formats=_FORMATS) as opened:
        turn = _orientation(opened)
    return turn if turn in _TURNS else 1


def upright_box(box: Sequence[float], size: tuple[int, int], orientation: int) -> list[float]:
    """Return a box x1, y1, x2, y2 of a stored image of this width and height, turned as `decode_image` turns that."""
    x1, y1, x2, y2 = box
    if orientation in (2, 3, 7, 8):
        x1, x2 = size[0] - x2, size[0] - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = size[1] - y2, size[1] - y1
    return [x1, y1, x2, y2] if orientation < 5 else [y1, x1, y2, x2]


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, for damaged data. ImageOps.exif_transpose would write the data again."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGED:
        return 1


def shown(path: str) -> str:
    """Return a path for a message: on one line and short, as base64 text that is taken for a path has megabytes."""
    text = repr(path[:300])[1:-1]
    return text if len(path) <= 300 else f"{text}..."


def image_views(pictures: list[Image.Image], others: list[Image.Image]) -> dict[str, list[Image.Image]]:
    """Return what a prompt may show in place of its pictures, at their sizes, so that the visual tokens stay as many.

    Returns:
        "true", the pictures; "again", the same; "blank", mid grey; "swapped", those of another row, resized.
    """
    return {
        "true": pictures,
        "again": pictures,
        "blank": [Image.new("RGB", picture.size, (128, 128, 128)) for picture in pictures],
        "swapped": [others[index % len(others)].resize(picture.size) for index, picture in enumerate(pictures)],
    }


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # Pillow would clip the values at 255, and most of the image would be white.
        raise ValueError(f"{name} has more than 8 bits a channel (mode {image.mode}); save it as 8-bit")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")

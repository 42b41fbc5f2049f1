from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from pepo_rlhf.data import decode_image
from pepo_rlhf.data.images import image_views

WHITE, BLACK, RED = (255, 255, 255), (0, 0, 0), (255, 0, 0)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_transparent_pixels_become_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    decoded = decode_image(encode(image))
    assert decoded.mode == "RGB"
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, BLACK]


def test_half_transparent_black_is_grey() -> None:
    decoded = decode_image(encode(Image.new("RGBA", (1, 1), (0, 0, 0, 51))))  # 51 / 255 = 0.2 of black on white
    assert decoded.getpixel((0, 0)) == (204, 204, 204)


def test_grey_with_alpha_is_composited_too() -> None:
    assert decode_image(encode(Image.new("LA", (1, 1), (0, 0)))).getpixel((0, 0)) == WHITE


def test_palette_is_looked_up_and_its_transparent_colour_is_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*BLACK, *RED])
    image.putpixel((1, 0), 1)
    assert decode_image(encode(image)).getpixel((0, 0)) == BLACK
    decoded = decode_image(encode(image, transparency=0))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]


@pytest.mark.parametrize(("mode", "colour"), [("1", 1), ("L", 255), ("CMYK", (0, 0, 0, 0)), ("RGB", WHITE)])
def test_opaque_modes_keep_their_colours(mode: str, colour: int | tuple[int, ...]) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    decoded = decode_image(encode(Image.new(mode, (1, 1), colour), kind))
    assert decoded.mode == "RGB"
    assert decoded.getpixel((0, 0)) == WHITE


def test_file_and_bytes_give_the_same_image(tmp_path: Path) -> None:
    data = encode(Image.new("RGB", (3, 2), RED))
    (tmp_path / "a.png").write_bytes(data)
    from_file, from_bytes = decode_image(str(tmp_path / "a.png")), decode_image(data)
    assert from_file.size == (3, 2)
    assert from_file.tobytes() == from_bytes.tobytes()


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    assert decode_image(encode(Image.new("RGB", (3, 2)), "JPEG", exif=exif)).size == (2, 3)


def exif(*fields: bytes) -> bytes:
    """EXIF data, laid out like a little-endian TIFF: the number of fields, then 12 bytes a field, ordered by tag."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(fields)) + b"".join(fields) + bytes(4)


TURNED = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # Orientation, one SHORT: turned by a quarter
MAKER = struct.pack("<HHIf", 0x10F, 11, 1, 1.0)  # Make, one FLOAT in the place of a text
WIDTH = struct.pack("<HHI4s", 0x100, 2, 4, b"abc\0")  # ImageWidth, a text of 4 bytes in the place of a number


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (exif(MAKER, TURNED), (2, 3)),
        (exif(WIDTH, TURNED), (2, 3)),
        (b"Exif\0\0nonsense", (3, 2)),
        (b"Exif\0\0", (3, 2)),
    ],
)
def test_a_photo_is_turned_as_far_as_its_metadata_can_be_read(data: bytes, size: tuple[int, int]) -> None:
    assert decode_image(encode(Image.new("RGB", (3, 2)), "JPEG", exif=data)).size == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(orientation: int) -> None:
    metadata = Image.Exif()
    metadata[0x0112] = orientation
    data = encode(Image.effect_noise((3, 2), 50).convert("RGB"), "PNG", exif=metadata)
    with Image.open(io.BytesIO(data)) as opened:
        assert decode_image(data).tobytes() == ImageOps.exif_transpose(opened).tobytes()


def test_an_animation_is_its_first_frame() -> None:
    later = [Image.new("RGB", (3, 2), BLACK)]
    decoded = decode_image(encode(Image.new("RGB", (3, 2), RED), "GIF", save_all=True, append_images=later))
    assert (decoded.size, decoded.mode, decoded.getpixel((0, 0))) == ((3, 2), "RGB", RED)


def test_a_text_taken_for_a_path_does_not_flood_the_message() -> None:
    with pytest.raises(ValueError, match="File name too long") as caught:
        decode_image("iVBORw0KGgo" * 10_000)
    assert len(str(caught.value)) < 400


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent.png does not exist"):
        decode_image(str(tmp_path / "absent.png"))


def test_what_is_not_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>404</html>")
    with pytest.raises(ValueError, match="page.png is not an image"):
        decode_image(str(tmp_path / "page.png"))
    with pytest.raises(ValueError, match="image of 0 bytes is not an image"):
        decode_image(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    data = encode(Image.effect_noise((64, 64), 50).convert("RGB"), kind)
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(data[: len(data) // 2])


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(str(tmp_path))


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("1", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="decompression bomb"):
        decode_image(data)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_images_are_refused_rather_than_clipped_to_white(mode: str) -> None:
    with pytest.raises(ValueError, match="save it as 8-bit"):
        decode_image(encode(Image.new(mode, (2, 2)), "TIFF"))


def test_views_keep_size_and_number_of_the_pictures():
    pictures = [Image.new("RGB", (30, 20), "red"), Image.new("RGB", (10, 40), "blue"), Image.new("RGB", (9, 9), "red")]
    others = [Image.new("RGB", (7, 5), "green"), Image.new("RGB", (50, 50), "white")]
    views = image_views(pictures, others)
    for view in views.values():
        assert [picture.size for picture in view] == [(30, 20), (10, 40), (9, 9)]
    assert views["true"] == views["again"] == pictures
    assert {colour for picture in views["blank"] for _, colour in picture.getcolors()} == {(128, 128, 128)}
    # Where the other row has fewer images, they take turns.
    assert [picture.getpixel((0, 0)) for picture in views["swapped"]] == [(0, 128, 0), (255, 255, 255), (0, 128, 0)]

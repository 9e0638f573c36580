"""Any picture a user has opens as upright 8-bit grey or colour; one that cannot is named with the reason."""

import re
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from striate.data.picture import decode, decode_pixels, encoded, open_picture
from striate.data.source import ImageFile
from striate.errors import BadData


def to_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_grey_and_colour_come_as_they_are():
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert open_picture(to_bytes(grey)).mode == "L"
    assert np.array_equal(np.asarray(open_picture(to_bytes(grey))), np.asarray(grey))
    assert open_picture(to_bytes(Image.new("RGB", (4, 4), "red"))).getpixel((0, 0)) == (255, 0, 0)


def test_one_bit_and_palette():
    assert open_picture(to_bytes(Image.new("1", (4, 4), 1))).getpixel((0, 0)) == 255
    palette = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4)
    assert open_picture(to_bytes(palette)).getpixel((1, 1)) == (10, 200, 30)


def test_transparency_is_laid_on_white():
    assert open_picture(to_bytes(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))).getpixel((0, 0)) == (
        255,
        255,
        255,
    )
    half = open_picture(to_bytes(Image.new("LA", (4, 4), (0, 128))))
    assert half.mode == "L" and abs(half.getpixel((0, 0)) - 127) <= 1
    keyed = to_bytes(Image.new("P", (4, 4), 0), transparency=0)
    assert open_picture(keyed).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_range(kind):
    ramp = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    assert np.asarray(open_picture(to_bytes(Image.fromarray(ramp), kind))).tolist() == [[0, 100, 255]]


def test_floating_grey():
    assert np.asarray(open_picture(Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)))).tolist() == [
        [0, 128, 255]
    ]


def test_cmyk():
    red, green, blue = open_picture(to_bytes(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).getpixel(
        (8, 8)
    )
    assert red > 240 and green < 15 and blue < 15


def test_the_cameras_rotation_is_applied():
    lying = Image.new("RGB", (40, 20), "white")
    lying.paste("black", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    upright, full = decode(to_bytes(lying, "JPEG", exif=exif, quality=95))
    assert upright.size == (20, 40) and full == (40, 20)
    assert upright.getpixel((10, 5))[0] < 20 and upright.getpixel((10, 35))[0] > 235


def test_a_large_jpeg_is_decoded_smaller_but_its_size_is_known():
    data = to_bytes(Image.new("RGB", (800, 600), "navy"), "JPEG")
    image, full = decode(data, need=100)
    assert full == (600, 800) and 100 <= min(image.size) < 300
    assert open_picture(data).size == (800, 600)


def test_truncated_file_is_named(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for kind in ("png", "jpeg", "webp", "gif", "tiff"):
        file = tmp_path / f"cut.{kind}"
        data = to_bytes(noise, kind.upper())
        file.write_bytes(data[: len(data) // 2])
        with pytest.raises(BadData, match=rf"cut\.{kind}: cannot be read: ."):
            open_picture(file)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff" * 20])
def test_what_is_no_picture(data):
    with pytest.raises(BadData, match=r"^cat\.png: cannot be read: "):
        open_picture(data, "cat.png")


def test_missing_file(tmp_path):
    with pytest.raises(BadData, match="gone.jpg: cannot be read: No such file"):
        open_picture(tmp_path / "gone.jpg")


def test_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch):
    bomb = to_bytes(Image.new("1", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with pytest.raises(BadData, match="bomb.png: cannot be read: more than 30,000 pixels; scale it down"):
        open_picture(bomb, "bomb.png")


def test_postscript_is_no_picture():
    with pytest.raises(BadData, match="not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "evil.png")


def test_archive_members_are_read_in_place_and_a_changed_archive_is_noticed(tmp_path):
    path = tmp_path / "a.zip"
    for colour in ("red", "blue"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.png", to_bytes(Image.new("RGB", (4, 4), colour)))
            archive.comment = colour.encode()
        file = ImageFile("x.png", path, "x.png")
        assert open_picture(file).getpixel((0, 0)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    with pytest.raises(BadData, match="y.png: cannot be read"):
        encoded(ImageFile("y.png", path, "y.png"))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (45, 61, 3), dtype=np.uint8))
JPEGS = {
    "colour": to_bytes(NOISE, "JPEG"),
    "full colour": to_bytes(NOISE, "JPEG", subsampling=0, quality=97),
    "progressive": to_bytes(NOISE, "JPEG", progressive=True),
    "grey": to_bytes(NOISE.convert("L"), "JPEG"),
    "rgb": to_bytes(NOISE, "JPEG", keep_rgb=True),
    "cmyk": to_bytes(NOISE.convert("CMYK"), "JPEG"),
    "upright by its EXIF": to_bytes(NOISE, "JPEG", exif=turned(1)),
    "mirrored by its EXIF": to_bytes(NOISE, "JPEG", exif=turned(2)),
    "lying": to_bytes(NOISE, "JPEG", exif=turned(6)),
    "more bytes after the end": to_bytes(NOISE, "JPEG") + b"and so on",
}


@pytest.mark.parametrize("kind", JPEGS)
def test_pixels_are_those_that_pillow_decodes(kind):
    seen, full = decode_pixels(JPEGS[kind])
    image, size = decode(JPEGS[kind])
    assert np.array_equal(seen, np.asarray(image)) and full == size
    assert seen.flags.writeable  # PyTorch warns of memory that it must not write to


def test_pixels_of_a_part_of_a_large_one_and_of_what_is_no_jpeg():
    assert decode_pixels(to_bytes(Image.new("RGB", (800, 600), "navy"), "JPEG"), need=100)[0].shape == (
        150,
        200,
        3,
    )
    assert np.array_equal(decode_pixels(to_bytes(NOISE))[0], np.asarray(NOISE))
    assert np.array_equal(decode_pixels(NOISE)[0], np.asarray(NOISE))


def test_damaged_pixels_are_named_with_pillows_reason():
    whole = JPEGS["colour"]
    with pytest.raises(BadData, match=r"^cut.jpg: cannot be read: .*truncated"):
        decode_pixels(whole[: len(whole) // 2], "cut.jpg")
    rng = np.random.default_rng(0)
    for _ in range(50):  # any damage is read as Pillow reads it, or refused as Pillow refuses it
        broken = bytearray(whole)
        for place in rng.integers(2, len(whole), 3):
            broken[place] = rng.integers(256)
        try:
            there = np.asarray(decode(bytes(broken))[0])
        except BadData as why:
            with pytest.raises(BadData, match=re.escape(str(why))):
                decode_pixels(bytes(broken))
        else:
            assert np.array_equal(decode_pixels(bytes(broken))[0], there)

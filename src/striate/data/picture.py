"""Opening one picture of any kind a camera, scanner or drawing program writes: 8-bit grey or RGB comes out.

What is evened out: 1-bit, palette, 16-bit and floating grey, CMYK and other colour spaces, transparency (laid
on white) and the camera's rotation (EXIF). Large JPEGs are decoded at 1/2, 1/4 or 1/8 where that is enough.
Pillow decodes; where only pixels are wanted, simplejpeg gives those of ordinary JPEGs in half the time.
"""

import os
import zipfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageOps

from striate.data.source import ImageFile
from striate.errors import BadData

SUFFIXES = frozenset(
    ".jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .avif .tga .jp2".split()
)
"""File names that end in one of these are taken for pictures."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "TGA", "JPEG2000")
"""What is opened, whatever a file is called: nothing that would start another program, as PostScript does."""

GREY = frozenset(["1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"])
"""Pillow's modes that hold no colour."""

LARGEST_MEMBER = 1 << 28
"""Bytes that one picture inside an archive may unpack to (256 MiB)."""

GREY_BEYOND = 114
"""What lies around a picture: the mean of ImageNet's photographs, nearly."""

_ROTATION = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}

Picture = ImageFile | Path | bytes | Image.Image


_OPENING = Lock()


def opened(path: Path) -> zipfile.ZipFile:
    """A zip archive, opened once however often it is asked for; safe to read from many threads.

    Reading the contents of a large archive takes a second, so it stays open until others take its place.
    """
    with _OPENING:
        return _opened(path, path.stat().st_mtime_ns, os.getpid())


@lru_cache(maxsize=4)
def _opened(path: Path, changed: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def encoded(file: ImageFile) -> bytes:
    """The encoded bytes of one picture; `BadData` where its file or archive cannot be read."""
    if file.span is not None:
        return _read_span(file.path, *file.span, file.name)
    if file.member is None:
        return _read(file.path, file.name)
    try:
        archive = opened(file.path)
        if archive.getinfo(file.member).file_size > LARGEST_MEMBER:
            raise zipfile.BadZipFile("it unpacks to more than 256 MiB")
        return archive.read(file.member)
    except Exception as why:  # zipfile reports damage in a dozen ways, some of them bare RuntimeErrors
        raise BadData(f"{file.name}: cannot be read: {_reason(why)}") from why


def to_draw_on(given: Picture | None, kept: Picture | None, file: str) -> Picture:
    """The picture that is given, else the one that a prediction kept; `BadData` where there is neither."""
    found = given if given is not None else kept
    if found is None:
        raise BadData(f"{file}: the prediction kept no picture to draw on; give draw() the picture.")
    return found


def open_picture(file: Picture, name: str | None = None) -> Image.Image:
    """A picture, upright, as Pillow mode "RGB" or "L"; else `BadData("name: cannot be read: why")`.

    `name` is what a message calls it; without one, the file's own name or "the picture".
    """
    return decode(file, name)[0]


Size = tuple[int, int]
Box = tuple[int, int, int, int]


def decode(file: Picture, name: str | None = None, need: int | None = None) -> tuple[Image.Image, Size]:
    """(the picture as `open_picture` gives it, its full height and width in pixels).

    With `need`, a JPEG may come at 1/2, 1/4 or 1/8 of its size, its shorter side still `need` pixels.
    """
    name, given, box = _given(file, name)
    with _named(name):
        return _finished(*_begun(given, need, box), box)


def decode_pixels(file: Picture, name: str | None = None, need: int | None = None) -> tuple[np.ndarray, Size]:
    """(the pixels of `decode`, uint8 (H, W) grey or (H, W, 3), the picture's full height and width)."""
    name, given, box = _given(file, name)
    with _named(name):
        image, full = _begun(given, need, box)
        if isinstance(given, bytes) and box is None and image.size == full and _ordinary(image):
            # What simplejpeg calls damaged Pillow may still read, or says what is wrong with it.
            with suppress(ValueError):
                pixels = simplejpeg.decode_jpeg(given, "GRAY" if image.mode == "L" else "RGB")
                return pixels.squeeze(2) if image.mode == "L" else pixels, (full[1], full[0])
        image, size = _finished(image, full, box)
        return np.array(image), size


def _given(file: Picture, name: str | None) -> tuple[str, Image.Image | bytes, Box | None]:
    """(what to call a picture, its bytes or the open picture, the box of it that is meant)."""
    name = name or _name(file)
    if isinstance(file, ImageFile):
        return name, encoded(file), file.box
    return name, _read(file, name) if isinstance(file, Path) else file, None


@contextmanager
def _named(name: str) -> Generator[None]:
    try:
        yield
    except Exception as why:  # decoders meet damaged bytes with any exception there is
        raise BadData(f"{name}: cannot be read: {_reason(why)}") from why


def _begun(given: Image.Image | bytes, need: int | None, box: Box | None) -> tuple[Image.Image, Size]:
    """(an opened picture, which decodes itself when it is asked for pixels, its full width and height)."""
    if isinstance(given, Image.Image):
        return given, given.size
    image = Image.open(BytesIO(given), formats=formats(given))
    full = image.size
    _refuse_bomb(image)
    if need is not None and box is None and image.format == "JPEG" and min(full) >= 2 * need:
        shorter = min(full)
        image.draft(None, (-(-full[0] * need // shorter), -(-full[1] * need // shorter)))
    return image, full


def _ordinary(image: Image.Image) -> bool:
    """Whether an opened picture is a JPEG whose pixels are wanted as they are stored."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return False
    return not _ROTATION & image.info.keys() or _orientation(image) == 1


def _finished(image: Image.Image, full: Size, box: Box | None) -> tuple[Image.Image, Size]:
    """(the picture or its box decoded, upright and in 8 bits, its full height and width)."""
    image.load()
    upright = _upright(image)
    if (upright.width > upright.height) != (image.width > image.height):
        full = full[::-1]
    plain = _eight_bit(upright)
    if box is not None:
        return cut(plain, box), (box[3] - box[1], box[2] - box[0])
    return plain, (full[1], full[0])


def cut(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """What a box x1, y1, x2, y2 shows of a picture "L" or "RGB", `GREY_BEYOND` where it reaches over."""
    grey = GREY_BEYOND if image.mode == "L" else (GREY_BEYOND,) * 3
    sheet = Image.new(image.mode, (box[2] - box[0], box[3] - box[1]), grey)
    sheet.paste(image, (-box[0], -box[1]))
    return sheet


def header(data: bytes | Path) -> tuple[int, int, bool] | None:
    """(height, width, has colour) of a picture, upright, nothing decoded; None where it is no picture.

    Of a file only the beginning is read.
    """
    try:
        with BytesIO(data) if isinstance(data, bytes) else data.open("rb") as stream:
            start = stream.read(16)
            stream.seek(0)
            image = Image.open(stream, formats=formats(start))
            height, width = (image.width, image.height) if _lying(image) else (image.height, image.width)
            return height, width, image.mode not in GREY
    except Exception:  # as in `decode`; whoever needs the pixels will get the message
        return None


def formats(data: bytes) -> tuple[str, ...]:
    """The one format whose first bytes these are, or all: Pillow asks one by one, 0.1 ms a picture."""
    if data.startswith(b"\xff\xd8\xff"):
        return ("JPEG",)
    if data.startswith(b"\x89PNG"):
        return ("PNG",)
    return ("WEBP",) if data[8:12] == b"WEBP" else FORMATS


def _name(file: Picture) -> str:
    if isinstance(file, ImageFile):
        return file.name
    if isinstance(file, Image.Image):
        return str(getattr(file, "filename", "") or "the picture")
    return "the picture" if isinstance(file, bytes) else str(file)


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise BadData(f"{name}: cannot be read: {why.strerror or why}") from why


def _read_span(path: Path, start: int, size: int, name: str) -> bytes:
    """A part of a file, through a handle of its own: any number of threads may read at once."""
    if size > LARGEST_MEMBER:
        raise BadData(f"{name}: cannot be read: it has more than 256 MiB")
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(start)
            data = stream.read(size)
    except OSError as why:
        raise BadData(f"{name}: cannot be read: {why.strerror or why}") from why
    if len(data) != size:
        raise BadData(f"{name}: cannot be read: {path.name} ends before it does; fetch it again")
    return data


def _reason(why: BaseException) -> str:
    """One line of an exception, in the reader's words where Pillow's name its internals."""
    if isinstance(why, Image.UnidentifiedImageError):
        return "this is not a picture, or of a kind that Pillow does not know"
    if isinstance(why, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels; scale it down first"
    return " ".join(str(why).split()) or type(why).__name__


def _refuse_bomb(image: Image.Image) -> None:
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera says. A damaged EXIF block costs the rotation, not the picture."""
    if image.format == "TIFF" or _ROTATION & image.info.keys():
        with suppress(Exception):
            return ImageOps.exif_transpose(image)
    return image


def _lying(image: Image.Image) -> bool:
    """Whether the camera says that the picture is to be turned by a quarter."""
    return bool(_ROTATION & image.info.keys()) and _orientation(image) >= 5


def _orientation(image: Image.Image) -> int:
    """The camera's word on how to turn the picture, 1 to 8, as EXIF numbers it: 1 is upright."""
    with suppress(Exception):  # as in `_upright`
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode -> "L" or "RGB"."""
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    mode: Literal["L", "RGB"] = "L" if image.mode in GREY else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_to_bytes(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, "white")
        return Image.alpha_composite(white, above).convert(mode)
    return image.convert(mode)


def _scaled_to_bytes(image: Image.Image) -> Image.Image:
    """16-bit and floating grey -> "L": full scale is 65,535, or 255 or 1 where no pixel is above it."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    top = float(values.max(initial=0.0))
    full_scale = 65535.0
    if image.mode == "F":
        full_scale = 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0
    elif image.mode == "I" and top <= 255:
        full_scale = 255.0
    return Image.fromarray(np.clip(values * (255 / full_scale) + 0.5, 0, 255).astype(np.uint8))

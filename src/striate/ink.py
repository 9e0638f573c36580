"""Type and colour shared by every picture drawn with Pillow: one look for predictions and for reports.

Blue is right or the answer, vermilion is wrong (Okabe and Ito's pair, told apart by every kind of sight).
The typeface is DejaVu Sans, found in Matplotlib's folder without importing Matplotlib.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, SOFT, LINE, PALE = (255, 255, 255), (31, 35, 40), (96, 104, 114), (208, 215, 222), (238, 241, 244)
BLUE, VERMILION = (0, 114, 178), (213, 94, 0)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> Font:
    """The typeface at `size` pixels; Pillow's own where Matplotlib's fonts are not installed."""
    found = find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / name
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size=size)


def shorten(text: str, face: Font, width: float) -> str:
    """`text` on one line, cut in the middle with an ellipsis so that it is at most `width` pixels wide."""
    text = " ".join(str(text).split()) or "?"
    if face.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 1:
        kept -= 1
        cut = f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :]}"
        if face.getlength(cut) <= width:
            return cut
    return "…"


def mix(colour: Colour, share: float, ground: Colour = PAPER) -> Colour:
    """`colour` laid over `ground`: 0 is the ground, 1 the full colour."""
    r, g, b = (round(low + (high - low) * share) for high, low in zip(colour, ground, strict=True))
    return r, g, b


def percent(share: float) -> str:
    """0.9834 -> "98.3 %"; a share that would round to nothing is "<0.1 %"."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def bars(rows: Sequence[tuple[str, float | None, str, str]]) -> Image.Image:
    """A bar for every (name, share from 0 to 1, the share in words, what stands beside it)."""
    row, width, right, face = 52, 1280, 330, font(25)
    left = 40 + math.ceil(min(300, max((face.getlength(name) for name, *_ in rows), default=0)))
    sheet = Image.new("RGB", (width, row * max(len(rows), 1) + 24), PAPER)
    pen, number, full = ImageDraw.Draw(sheet), font(25, bold=True), width - right - left
    for place, (name, share, said, beside) in enumerate(rows):
        y = 12 + place * row
        pen.text((left - 20, y + 26), shorten(name, face, left - 40), INK, face, anchor="rm")
        pen.rectangle((left, y + 10, left + full, y + 42), PALE)
        if share:
            pen.rectangle((left, y + 10, left + max(2, round(full * share)), y + 42), BLUE)
        pen.text((width - 190, y + 26), said, INK, number, anchor="rm")
        pen.text((width - 20, y + 26), beside, SOFT, face, anchor="rm")
    return sheet


def enlarge(image: Image.Image, width: int, height: int) -> Image.Image:
    """All of `image`, as large as fits `width` x `height`, its shape kept.

    Pictures under 128 pixels grow by a whole number with their pixels left square; the rest are resampled.
    """
    scale = min(width / image.width, height / image.height)
    if max(image.size) < 128 and scale >= 1:
        return image.resize((image.width * int(scale), image.height * int(scale)), Image.Resampling.NEAREST)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def png(image: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    kept = BytesIO()
    image.save(kept, "PNG", compress_level=6)
    return kept.getvalue()

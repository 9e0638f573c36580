"""A picture and its five best classes as bars."""

from PIL import Image, ImageDraw

from striate import ink
from striate.data.picture import Picture, open_picture

EDGE, BOX, LONG, COLUMN, ROW = 32, 480, 960, 480, 62
"""Pixels: the margin, the picture's box, its longer side when it is wide or tall, the bars' column, a bar."""

HEAD = 86
"""Pixels of the headline above the bars."""


def draw(image: Picture, file: str, label: str, top: tuple[tuple[str, float], ...]) -> Image.Image:
    """All of the picture, never cut, with the headline and the bars beside it, or below a wide one."""
    picture = flatten(image)
    wide, tall = picture.width > 1.6 * picture.height, picture.height > 1.6 * picture.width
    column = LONG if wide else COLUMN
    picture = ink.enlarge(picture, LONG if wide else BOX, LONG if tall else int(LONG / 1.6) if wide else BOX)
    bars = chart(file, label, top, column)
    if wide:
        size = 2 * EDGE + column, 3 * EDGE + picture.height + bars.height
        first, second = (EDGE + (column - picture.width) // 2, EDGE), (EDGE, 2 * EDGE + picture.height)
    else:
        height = max(picture.height, bars.height)
        size = 3 * EDGE + picture.width + column, 2 * EDGE + height
        first = EDGE, EDGE + (height - picture.height) // 2
        second = 2 * EDGE + picture.width, EDGE + (height - bars.height) // 2
    sheet = Image.new("RGB", size, ink.PAPER)
    sheet.paste(picture, first)
    sheet.paste(bars, second)
    right, bottom = first[0] + picture.width, first[1] + picture.height
    ImageDraw.Draw(sheet).rectangle((first[0] - 1, first[1] - 1, right, bottom), outline=ink.LINE)
    return sheet


def flatten(image: Picture) -> Image.Image:
    """Any kind of picture as RGB, turned upright, what is transparent on white."""
    return open_picture(image).convert("RGB")


def chart(file: str, label: str, top: tuple[tuple[str, float], ...], width: int) -> Image.Image:
    """The answer, the file's name, and a bar for every class of `top`: an image `width` pixels wide."""
    sheet = Image.new("RGB", (width, HEAD + ROW * len(top)), ink.PAPER)
    pen, big, small = ImageDraw.Draw(sheet), ink.font(36, bold=True), ink.font(18)
    pen.text((0, 0), ink.shorten(label, big, width), ink.INK, big)
    pen.text((0, 50), ink.shorten(file or "picture", small, width), ink.SOFT, small)
    face, number = ink.font(21), ink.font(21, bold=True)
    for row, (name, share) in enumerate(top):
        y, first = HEAD + ROW * row, row == 0
        text = ink.percent(share)
        room = width - number.getlength(text) - 16
        pen.text((0, y), ink.shorten(name, face, room), ink.INK if first else ink.SOFT, face)
        pen.text((width, y), text, ink.INK if first else ink.SOFT, number, anchor="ra")
        colour = ink.BLUE if first else ink.mix(ink.BLUE, 0.45)
        sheet.paste(track(width, 15, share, colour), (0, y + 32))
    return sheet


def track(width: int, height: int, share: float, colour: ink.Colour) -> Image.Image:
    """A round-ended bar `width` pixels long, filled from the left to exactly `share` of its length."""
    sheet, full = Image.new("RGB", (width, height), ink.PAPER), Image.new("RGB", (width, height), ink.PAPER)
    box, radius = (0, 0, width - 1, height - 1), height // 2
    ImageDraw.Draw(sheet).rounded_rectangle(box, radius, ink.PALE)
    ImageDraw.Draw(full).rounded_rectangle(box, radius, colour)
    filled = round(width * min(max(share, 0.0), 1.0))
    sheet.paste(full.crop((0, 0, max(filled, 2 if share > 0 else 0), height)), (0, 0))
    return sheet

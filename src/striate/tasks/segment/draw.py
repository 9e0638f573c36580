"""A picture with its classes in colours over it, and a legend that names those that occur."""

import numpy as np
from PIL import Image, ImageDraw

from striate import ink
from striate.data.overlay import over, palette, to_look_at
from striate.data.picture import Picture, open_picture

LARGEST, SMALLEST = 1024, 360
"""Pixels of the longer side of what is drawn, at most and at least."""

ROWS = 24
"""Classes that the legend names at most: the largest."""


def draw(picture: Picture, mask: np.ndarray, classes: tuple[str, ...], name: str = "") -> Image.Image:
    """The picture with `mask` uint8 (H, W) over it and the legend beside it."""
    image = open_picture(picture, name or None).convert("RGB")
    seen = over(to_look_at(image, LARGEST, SMALLEST)[0], mask, len(classes))
    key = legend(mask, classes, seen.height)
    sheet = Image.new("RGB", (seen.width + key.width, max(seen.height, key.height)), ink.PAPER)
    sheet.paste(seen, (0, 0))
    sheet.paste(key, (seen.width, 0))
    return sheet


def legend(mask: np.ndarray, classes: tuple[str, ...], height: int, scale: int = 1) -> Image.Image:
    """Classes that occur, the largest first: a square of the colour, the name, the share of the pixels.

    `scale` is 2 where the sheet is shown at half its pixels' size.
    """
    counts = np.bincount(mask.ravel(), minlength=len(classes))[: len(classes)]
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]][:ROWS]
    row, face, bold = 26 * scale, ink.font(14 * scale), ink.font(14 * scale, bold=True)
    sheet = Image.new("RGB", (230 * scale, max(height, row * len(order) + 16 * scale)), ink.PAPER)
    pen, colours = ImageDraw.Draw(sheet), palette(len(classes))
    for line, number in enumerate(order):
        y = 12 * scale + line * row
        square = (14 * scale, y, 30 * scale, y + 16 * scale)
        pen.rounded_rectangle(square, 3 * scale, ink.mix(colours[number], 0.9))
        pen.text((40 * scale, y), ink.shorten(classes[number], bold, 120 * scale), ink.INK, bold)
        share = ink.percent(counts[number] / mask.size)
        pen.text((222 * scale - face.getlength(share), y), share, ink.SOFT, face)
    return sheet

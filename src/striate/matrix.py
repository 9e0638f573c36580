"""The confusion matrix as a picture, readable from two classes to a thousand."""

import numpy as np
from PIL import Image, ImageDraw

from striate import ink

COUNTED, NAMED = 20, 120
"""Up to so many classes a cell shows its count; up to so many classes rows and columns carry their names."""


def confusion_matrix(counts: list[list[int]], names: list[str]) -> Image.Image:
    """counts[true][said] -> a square of cells coloured by their share of the true class.

    The diagonal is blue in proportion; mistakes are orange by the square root of their share, so that one in
    a hundred can still be seen.
    """
    table = np.asarray(counts, dtype=np.int64).reshape(len(names), len(names))
    cell = min(132, max(2, 1320 // len(names)))
    if len(names) <= NAMED:
        cell = max(cell, 20)
    face = ink.font(min(28, max(15, round(cell * 0.62))))
    named = len(names) <= NAMED
    labels = [ink.shorten(name, face, 280) for name in names] if named else []
    room = int(max((face.getlength(label) for label in labels), default=0)) + 24
    flat = bool(labels) and room - 24 <= cell - 8
    edge, left, top = 48, 48 + (room if named else 0), 48 + ((44 if flat else room) if named else 0)
    side = cell * len(names)
    sheet = Image.new("RGB", (left + side + 12, top + side + 12), ink.PAPER)
    sheet.paste(_cells(table, cell), (left, top))
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left - 1, top - 1, left + side, top + side), outline=ink.LINE)
    _names(sheet, labels, cell, left, top, flat, face)
    axis = ink.font(26)
    pen.text((left + side / 2, 4), "the network said", ink.SOFT, axis, anchor="ma")
    sheet.paste(_upright("true class", axis, side, edge - 10), (2, top))
    if len(names) <= COUNTED:
        _numbers(pen, table, cell, left, top)
    return sheet


def shades(table: np.ndarray) -> np.ndarray:
    """Counts (C, C) -> colours uint8 (C, C, 3)."""
    faintest = 0.12 if len(table) <= NAMED else 0.4
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    right = np.eye(len(table), dtype=bool)
    strength = np.where(right, share, np.where(table > 0, np.maximum(np.sqrt(share), faintest), 0))[..., None]
    full = np.where(right[..., None], np.array(ink.BLUE), np.array(ink.VERMILION))
    return np.round(255 + (full - 255) * strength).astype(np.uint8)


def _cells(table: np.ndarray, cell: int) -> Image.Image:
    """The coloured squares, a thin line between them where there is room for one."""
    pixels = shades(table).repeat(cell, 0).repeat(cell, 1)
    if cell >= 12:
        pixels[::cell] = pixels[:, ::cell] = ink.PALE
    return Image.fromarray(pixels)


def _upright(text: str, face: ink.Font, length: int, width: int) -> Image.Image:
    """Text turned to read from bottom to top, centred along `length` pixels."""
    strip = Image.new("RGB", (length, width), ink.PAPER)
    ImageDraw.Draw(strip).text((length / 2, width / 2), text, ink.SOFT, face, anchor="mm")
    return strip.rotate(90, expand=True)


def _names(
    sheet: Image.Image, labels: list[str], cell: int, left: int, top: int, flat: bool, face: ink.Font
) -> None:
    """The classes beside the rows and above the columns, turned where they are wider than a column."""
    pen = ImageDraw.Draw(sheet)
    for place, label in enumerate(labels):
        middle = round((place + 0.5) * cell)
        pen.text((left - 12, top + middle), label, ink.INK, face, anchor="rm")
        if flat:
            pen.text((left + middle, top - 10), label, ink.INK, face, anchor="md")
            continue
        strip = Image.new("RGB", (int(face.getlength(label)) + 2, cell), ink.PAPER)
        ImageDraw.Draw(strip).text((0, cell / 2), label, ink.INK, face, anchor="lm")
        turned = strip.rotate(90, expand=True)
        sheet.paste(turned, (left + place * cell, top - 12 - turned.height))


def _numbers(pen: ImageDraw.ImageDraw, table: np.ndarray, cell: int, left: int, top: int) -> None:
    """Every count but zero, dark on light and light on dark, small enough for its cell."""
    longest = len(f"{int(table.max())}")
    face = ink.font(max(12, min(30, round(cell * 0.42), round(cell * 0.86 / (0.64 * longest)))))
    dark = shades(table).astype(int) @ np.array([299, 587, 114]) < 150_000
    for row, column in np.argwhere(table > 0).tolist():
        at = left + (column + 0.5) * cell, top + (row + 0.5) * cell
        colour = ink.PAPER if dark[row, column] else ink.INK
        pen.text(at, f"{table[row, column]}", colour, face, anchor="mm")

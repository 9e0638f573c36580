"""Pictures of a set with what is known of them drawn over: boxes and names, outlines, masks, joints."""

import numpy as np
from PIL import Image, ImageDraw

from striate import ink
from striate.data.masks import pixels_of
from striate.data.overlay import boxes, over, palette, skeleton
from striate.data.picture import decode
from striate.data.source import Source, Split
from striate.data.store import picture_of
from striate.errors import BadData

SIDE, GAP, EDGE = 320, 12, 36
"""Pixels of the longer side of a picture, between two, around all."""

SHOWN, ACROSS = 12, 4

FIELDS = ("boxes", "mask")
"""Raw targets that can be drawn."""


def gallery(source: Source, seed: int = 0) -> Image.Image:
    """Up to twelve readable pictures of the first split, drawn by the seed, with the truth over them."""
    name, split = next(iter(source.splits.items()))
    tiles = []
    for i in np.random.default_rng(seed).permutation(len(split)).tolist():
        try:
            tiles.append((split.name(i), drawn(source, split, i)))
        except BadData:
            continue
        if len(tiles) == SHOWN:
            break
    return _sheet(f"{source.name}: {name}", tiles)


def drawn(source: Source, split: Split, i: int) -> Image.Image:
    """Picture `i` with its truth, its longer side `SIDE` pixels; `BadData` where it cannot be read."""
    opened, (height, width) = decode(picture_of(split, i), split.name(i), need=2 * SIDE)
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth = Image.Resampling.LANCZOS if scale < 2 else Image.Resampling.NEAREST
    image = opened.convert("RGB").resize(size, smooth)
    targets, names = split.targets, list(source.classes)
    if "mask" in targets and "boxes" not in targets:
        return over(image, pixels_of(targets["mask"][i]), len(names))
    _outlines(image, targets, i, scale, len(names))
    colours = palette(len(names))
    labels = targets["labels"][i].tolist()
    corners = (targets["boxes"][i] * scale).tolist()
    boxes(image, corners, [names[label] for label in labels], [colours[label] for label in labels])
    for joints in targets["keypoints"][i] if "keypoints" in targets else []:
        notes = source.notes
        skeleton(image, joints * np.array([scale, scale, 1]), notes["bones"], notes["mirrored"])
    return image


def _outlines(image: Image.Image, targets: dict, i: int, scale: float, classes: int) -> None:
    """Fill the polygons of the things, half transparent."""
    sheet = Image.new("RGBA", image.size)
    pen, colours = ImageDraw.Draw(sheet), palette(classes)
    for outline, label in zip(targets.get("outlines", [[]] * (i + 1))[i], targets["labels"][i], strict=False):
        for polygon in outline if isinstance(outline, list) else []:
            points = [value * scale for value in polygon]
            if len(points) >= 6:
                pen.polygon(points, (*colours[int(label)], 90))
    image.paste(sheet, (0, 0), sheet)


def _sheet(heading: str, tiles: list[tuple[str, Image.Image]]) -> Image.Image:
    """The pictures in rows under a heading, each with its name below."""
    large, small = ink.font(26, True), ink.font(14)
    rows = -(-len(tiles) // ACROSS)
    highs = [max(tile.height for _, tile in tiles[r * ACROSS : (r + 1) * ACROSS]) + 26 for r in range(rows)]
    width = 2 * EDGE + ACROSS * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, EDGE + 56 + sum(highs) + rows * GAP + EDGE), ink.PAPER)
    pen, y = ImageDraw.Draw(sheet), EDGE + 56
    pen.text((EDGE, EDGE - 6), ink.shorten(heading, large, width - 2 * EDGE), ink.INK, large)
    for place, (name, tile) in enumerate(tiles):
        row, column = divmod(place, ACROSS)
        x = EDGE + column * (SIDE + GAP)
        top = y + sum(highs[:row]) + row * GAP
        sheet.paste(tile, (x, top))
        pen.text((x, top + tile.height + 4), ink.shorten(name, small, SIDE), ink.SOFT, small)
    return sheet

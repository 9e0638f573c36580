"""A data set at a glance: a row for every class, with its name, its count and some of its pictures."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from striate import ink
from striate.data.census import Place, labels_of
from striate.data.gallery import FIELDS, gallery
from striate.data.picture import decode
from striate.data.source import Source, Split
from striate.data.store import picture_of
from striate.errors import BadData

TILE, GAP, EDGE, TEXT = 112, 8, 36, 230
"""Pixels: side of a picture, between two, around all, and of the names on the left."""

COLUMNS, ROWS = 10, 20


def mosaic(source: Source, seed: int = 0, unreadable: Collection[Place] = ()) -> Image.Image:
    """Up to ten pictures of each of up to twenty classes, drawn by the seed from the first split.

    The classes shown are spread evenly over all. Pictures that cannot be read are passed over, and those that
    are known to be `unreadable` are not counted; without labels there is one row. Of boxes, masks and joints
    it is a gallery with those drawn in.
    """
    name, split = next(iter(source.splits.items()))
    if any(field in split.targets for field in FIELDS):
        return gallery(source, seed)
    label = labels_of(split.targets, len(split))
    known = (label >= 0).any() and bool(source.classes)
    label = label if known else np.zeros(len(split), dtype=np.int64)
    label[[place.index for place in unreadable if place.split == name]] = -1
    names = [str(one) for one in source.classes] if known else [name]
    shown = sorted(set(np.linspace(0, len(names) - 1, min(len(names), ROWS)).astype(int).tolist()))
    rows = {k: _drawn(split, np.flatnonzero(label == k), seed) for k in shown}
    counts = np.bincount(label[label >= 0], minlength=len(names))
    return _sheet(
        _heading(source, len(shown), len(names)), [(names[k], int(counts[k]), rows[k]) for k in shown]
    )


def _heading(source: Source, shown: int, classes: int) -> str:
    some = f", {shown} of {classes} classes" if shown < classes else ""
    return f"{source.name}: {next(iter(source.splits))}{some}"


def _drawn(split: Split, members: np.ndarray, seed: int) -> list[Image.Image]:
    """Up to ten readable pictures among `members`, each a square tile."""
    tiles = []
    for row in np.random.default_rng(seed).permutation(members)[: 2 * COLUMNS].tolist():
        try:
            tiles.append(_tile(decode(picture_of(split, row), need=2 * TILE)[0]))
        except BadData:
            continue
        if len(tiles) == COLUMNS:
            break
    return tiles


def _tile(picture: Image.Image) -> Image.Image:
    """The middle of a photograph, or the whole of a small picture with its pixels left square."""
    if max(picture.size) <= TILE // 2:
        whole = ink.enlarge(picture.convert("RGB"), TILE, TILE)
        tile = Image.new("RGB", (TILE, TILE), ink.PALE)
        tile.paste(whole, ((TILE - whole.width) // 2, (TILE - whole.height) // 2))
        return tile
    return ImageOps.fit(picture.convert("RGB"), (TILE, TILE), Image.Resampling.LANCZOS)


def _sheet(heading: str, rows: list[tuple[str, int, list[Image.Image]]]) -> Image.Image:
    """Rows of (class, count, tiles) under a heading; a bar under each name shows the count."""
    across = max((len(tiles) for *_, tiles in rows), default=0) or 1
    top, most = EDGE + 56, max((count for _, count, _ in rows), default=0) or 1
    width = max(2 * EDGE + TEXT + across * (TILE + GAP) - GAP, 640)
    sheet = Image.new("RGB", (width, top + len(rows) * (TILE + GAP) - GAP + EDGE), ink.PAPER)
    pen, large, bold, small = ImageDraw.Draw(sheet), ink.font(26, True), ink.font(20, True), ink.font(17)
    pen.text((EDGE, EDGE - 6), ink.shorten(heading, large, width - 2 * EDGE), ink.INK, large)
    for place, (name, count, tiles) in enumerate(rows):
        y, room = top + place * (TILE + GAP), TEXT - 30
        pen.text((EDGE, y + 22), ink.shorten(name, bold, room), ink.INK, bold)
        pen.text((EDGE, y + 50), f"{count:,}", ink.SOFT, small)
        pen.rectangle((EDGE, y + 80, EDGE + room, y + 85), ink.PALE)
        if count:
            pen.rectangle((EDGE, y + 80, EDGE + max(2, round(room * count / most)), y + 85), ink.BLUE)
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (EDGE + TEXT + column * (TILE + GAP), y))
        if not tiles:
            pen.text((EDGE + TEXT, y + 44), "no pictures", ink.VERMILION, small)
    return sheet


def save(sheet: Image.Image, path: Path) -> Path:
    """Write the PNG, its folder too; `BadData` where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ink.png(sheet))
    except OSError as why:
        raise BadData(
            f"{path}: the mosaic cannot be written: {why.strerror or why}; name another place"
        ) from why
    return path

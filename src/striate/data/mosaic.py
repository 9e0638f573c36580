"""A data set at a glance: a row of pictures for every class, with its name and count."""

import numpy as np
from PIL import Image, ImageDraw

from striate import ink
from striate.data.doctor import labels_of, names_of
from striate.data.source import Source
from striate.data.store import Store

TILE, GAP, EDGE, LABEL = 72, 6, 24, 190
COLUMNS, MOST_ROWS = 10, 24


def mosaic(source: Source, stores: dict[str, Store], seed: int = 0) -> Image.Image:
    """Up to ten pictures of each class, drawn by the seed from the first split that has any."""
    store = stores.get("train") or next(iter(stores.values()))
    names, labels = names_of(source), labels_of(store)
    chance = np.random.default_rng(seed)
    shown = list(range(len(names)))[:MOST_ROWS]
    height = 2 * EDGE + len(shown) * (TILE + GAP) - GAP
    sheet = Image.new("RGB", (2 * EDGE + LABEL + COLUMNS * (TILE + GAP) - GAP, height), ink.PAPER)
    pen, bold, small = ImageDraw.Draw(sheet), ink.font(18, bold=True), ink.font(14)
    for place, number in enumerate(shown):
        y = EDGE + place * (TILE + GAP)
        rows = np.flatnonzero(labels == number)
        pen.text((EDGE, y + 14), ink.shorten(names[number], bold, LABEL - 16), ink.INK, bold)
        total = sum(int((labels_of(s) == number).sum()) for s in stores.values())
        pen.text((EDGE, y + 40), f"{total:,} picture{'' if total == 1 else 's'}", ink.SOFT, small)
        for column, row in enumerate(chance.permutation(rows)[:COLUMNS]):
            sheet.paste(_tile(store, int(row)), (EDGE + LABEL + column * (TILE + GAP), y))
    return sheet


def _tile(store: Store, row: int) -> Image.Image:
    """One picture, TILE pixels square, small ones with their pixels left square."""
    pixels = store.images[row].cpu().numpy()
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).convert("RGB")
    kind = Image.Resampling.NEAREST if max(image.size) < TILE / 2 else Image.Resampling.LANCZOS
    return image.resize((TILE, TILE), kind)

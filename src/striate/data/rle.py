"""Masks as run lengths, as COCO writes them: pixels counted down the columns, beginning with the zeros.

{"size": [height, width], "counts": [n zeros, n ones, n zeros, ...]}; in result files `counts` is often text,
six bits a character, each number from the third on the difference to the one two before it.
"""

from typing import Any

import numpy as np

from striate.errors import BadData


def encode(mask: np.ndarray) -> dict[str, Any]:
    """bool (H, W) -> {"size": [H, W], "counts": [int, ...]}."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat.size and flat[0] else counts}


def decode(rle: dict[str, Any]) -> np.ndarray:
    """{"size", "counts": list or text} -> bool (H, W).

    Raises:
        BadData: the counts are not numbers, or do not add up to the size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = _numbers(counts) if isinstance(counts, str | bytes) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError, IndexError) as why:
        raise BadData(f"a mask in run lengths cannot be read: {why}") from why
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise BadData(
            f"a mask in run lengths has {sum(runs)} pixels, its size {height}×{width} says otherwise"
        )
    ones = np.arange(len(runs)) % 2 == 1
    return np.repeat(ones, runs).reshape(width, height).T


def filled(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Corners (n, 2) x, y -> bool `size` (height, width): the pixels whose centres lie inside, even-odd."""
    height, width = size
    x, y = np.asarray(polygon, dtype=np.float64).T
    rows = np.arange(height) + 0.5
    after_x, after_y = np.roll(x, -1), np.roll(y, -1)
    edge, row = np.nonzero((y[:, None] <= rows) != (after_y[:, None] <= rows))
    share = (rows[row] - y[edge]) / (after_y[edge] - y[edge])
    at = np.ceil(x[edge] + share * (after_x[edge] - x[edge]) - 0.5).clip(0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), dtype=np.int64)
    np.add.at(turns, (row, at), 1)
    return turns.cumsum(1)[:, :width] % 2 == 1


def text(counts: list[int]) -> str:
    """Run lengths as COCO's text."""
    found = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            found.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(found)


def _numbers(counts: str | bytes) -> list[int]:
    """COCO's text -> run lengths."""
    codes = [byte - 48 for byte in (counts.encode() if isinstance(counts, str) else counts)]
    runs: list[int] = []
    place = 0
    while place < len(codes):
        value, shift, more = 0, 0, True
        while more:
            code = codes[place]
            if not 0 <= code < 64:
                raise ValueError(f"character {place} is none of COCO's")
            value |= (code & 0x1F) << shift
            shift, place, more = shift + 5, place + 1, bool(code & 0x20)
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs

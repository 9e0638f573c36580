"""Pictures larger than the network's window, piece by piece, things as large as it learned them.

Windows overlap by a quarter and each answers for its middle, where it sees what lies around; the pieces of
the mask are written one by one, so that beside the picture and its mask memory does not grow with them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.data.picture import Picture, open_picture
from striate.data.prepare import Fit, Prepare, resized
from striate.task import Facts
from striate.tasks.segment.predict import Segmentation, to_original

BATCH = 8
"""Windows that are answered at a time."""

OVERLAP = 8
"""The share of a window, one part in so many, that each side leaves to its neighbour."""

Span = tuple[int, int]
"""The first pixel and the one after the last, on one axis of the original."""


def tile(
    answer: Callable[[Tensor], Any], picture: Picture, prepare: Prepare, facts: Facts, file: str = ""
) -> Segmentation:
    """The classes of all pixels of a picture of any size; `answer` is the network for uint8 windows."""
    image = np.array(open_picture(picture, file or None).convert("L" if prepare.channels == 1 else "RGB"))
    mask = np.empty(image.shape[:2], dtype=np.uint8)
    rows = list(spans(image.shape[0], prepare.size[0], prepare.scale))
    columns = list(spans(image.shape[1], prepare.size[1], prepare.scale))
    places = [(row, column) for row in rows for column in columns]
    for start in range(0, len(places), BATCH):
        some = places[start : start + BATCH]
        seen = [_window(image, row[0], column[0], prepare) for row, column in some]
        logits = answer(torch.from_numpy(np.stack(seen))).float().cpu()
        for one, ((begin, high), (left, wide)) in zip(logits, some, strict=True):
            scale = np.full((1, 2), prepare.scale)
            corner = np.array([[wide[0] - left, high[0] - begin]])
            fit = Fit(scale, corner * scale, np.array([[high[1] - high[0], wide[1] - wide[0]]]))
            mask[high[0] : high[1], wide[0] : wide[1]] = to_original(one, fit)
    return Segmentation(file, tuple(facts["classes"]), mask, picture)


def spans(length: int, window: int, scale: float) -> Iterator[tuple[int, Span]]:
    """(where a window begins, the pixels it answers for), in pixels of the original, along one axis.

    Together the spans are every pixel once. Windows reach over the edge only where the picture is smaller.
    """
    seen = window / scale
    edge = seen / OVERLAP
    done = 0
    while done < length:
        last = done - edge >= length - seen
        begin = max(0, round(min(done - edge, length - seen)))
        end = length if last or begin + seen >= length else max(done + 1, round(begin + seen - edge))
        yield begin, (done, end)
        done = end


def _window(image: np.ndarray, y: int, x: int, prepare: Prepare) -> np.ndarray:
    """uint8 (C, H, W): what a window sees whose corner is there; edge pixels go on outside the picture."""
    height, width = prepare.size
    high = min(image.shape[0], y + max(1, round(height / prepare.scale)))
    wide = min(image.shape[1], x + max(1, round(width / prepare.scale)))
    size = max(1, round((high - y) * prepare.scale)), max(1, round((wide - x) * prepare.scale))
    pixels = resized(image[y:high, x:wide], min(size[0], height), min(size[1], width))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    missing = [(0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)]
    return np.pad(pixels, missing, mode="edge").transpose(2, 0, 1)

"""Crops on a CPU: picture by picture, by threads, of bytes.

Several times as fast as a whole batch as floats; a GPU crops in one go (`augment.warp`). PyTorch's own
threads are kept out of it: over such small things they would only wait for each other.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from striate.data.reuse import Arrays


def scaled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, C), contiguous -> (height, width, C): bilinear, smoothed where that is smaller."""
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = torch.from_numpy(pixels[None]).permute(0, 3, 1, 2)  # channels last for PyTorch too
    found = interpolate(picture, (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(found.permute(0, 2, 3, 1)[0].numpy())


def crop_each(
    images: Tensor,
    rows: Sequence[int],
    box: Tensor,
    flip: Tensor,
    size: tuple[int, int],
    memory: Arrays | None = None,
) -> Tensor:
    """uint8 (N, C, Hs, Ws) -> (B, C, *size): what the boxes (B, 4) of whole pixels show of B `rows`.

    Those of `flip` (B,) come mirrored. The result lies channels last, in `memory` where there is one.
    """
    pixels, boxes, flips = images.permute(0, 2, 3, 1).numpy(), box.long().tolist(), flip.tolist()
    channels = pixels.shape[3]
    windows = (memory or Arrays()).take((len(rows), *size, channels), np.uint8)
    pixel = np.dtype((np.void, channels))  # mirrored whole, not byte by byte

    def crop(place: int) -> None:
        left, top, wide, high = boxes[place]
        seen = np.ascontiguousarray(pixels[rows[place], top : top + high, left : left + wide])
        seen = scaled(seen, *size).view(pixel)
        windows[place].view(pixel)[:] = seen[:, ::-1] if flips[place] else seen

    list(_threads(torch.get_num_threads()).map(crop, range(len(rows))))
    return torch.from_numpy(windows).permute(0, 3, 1, 2)


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="crop")

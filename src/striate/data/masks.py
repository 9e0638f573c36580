"""A mask: for every pixel of a picture, the number of its class. Files of several kinds come out alike.

On disk a mask is a PNG whose pixels are class numbers (grey or with a palette), or one whose colours stand
for classes by a table. In memory it is uint8 (H, W), with `IGNORED` where a pixel is of no class.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data.augment import Warp
from striate.data.picture import encoded
from striate.data.prepare import Fit
from striate.data.source import ImageFile
from striate.errors import BadData

IGNORED = 255
"""What a pixel of no class is, in memory: no loss and no figure counts it. PASCAL VOC's number for it."""

MOST = 255
"""Classes that fit a byte, beside `IGNORED`."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask not yet decoded."""

    file: ImageFile
    classes: int | None
    """How many there are; None while that is being found out."""
    ignored: frozenset[int] = frozenset({IGNORED})
    """Numbers in the file that mean no class."""
    colours: tuple[Colour, ...] = ()
    """The colours of the classes in turn, where the file has colours in place of numbers."""

    def read(self) -> np.ndarray:
        """uint8 (H, W): class numbers and `IGNORED`.

        Raises:
            BadData: not a picture, or a pixel is of a class or colour that is not in the list.
        """
        pixels = self._numbers()
        if self.classes is None:
            return pixels
        table = np.arange(256, dtype=np.uint8)
        known = table < self.classes
        for number in self.ignored:
            table[number], known[number] = IGNORED, True
        if not known[pixels].all():
            y, x = np.argwhere(~known[pixels])[0]
            raise BadData(
                f"{self.file.name}: pixel ({x}, {y}) is {pixels[y, x]}, but the classes are 0 to "
                f"{self.classes - 1} and {_said(self.ignored)} stands for none: name it in classes.txt"
            )
        return table[pixels]

    def _numbers(self) -> np.ndarray:
        """uint8 (H, W) as they are in the file, colours already turned into numbers."""
        data = encoded(self.file)
        try:
            image = Image.open(BytesIO(data), formats=("PNG", "BMP", "TIFF", "GIF"))
            image.load()
        except Exception as why:  # decoders meet damaged bytes with any exception there is
            raise BadData(f"{self.file.name}: this mask cannot be read: {why}") from why
        if self.colours:
            return self._by_colour(np.array(image.convert("RGB")))
        if image.mode in ("RGB", "RGBA"):
            raise BadData(
                f"{self.file.name}: this mask has colours: say which class each is in class_dict.csv "
                "(a line name,r,g,b for every class) beside the folders, or write class numbers"
            )
        pixels = np.array(image if image.mode in ("L", "P", "1") else image.convert("I"))
        if pixels.ndim != 2 or pixels.min() < 0 or pixels.max() > IGNORED:
            raise BadData(f"{self.file.name}: a mask has one number from 0 to {IGNORED} a pixel")
        return pixels.astype(np.uint8)

    def _by_colour(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) -> the number of each pixel's colour."""
        code = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
        codes = np.array([(r << 16) | (g << 8) | b for r, g, b in self.colours], dtype=np.uint32)
        order = codes.argsort()
        place = order[np.searchsorted(codes, code, sorter=order).clip(max=len(codes) - 1)]
        wrong = codes[place] != code
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            colour = tuple(pixels[y, x].tolist())
            raise BadData(
                f"{self.file.name}: pixel ({x}, {y}) has the colour {colour}, "
                "which class_dict.csv does not name"
            )
        return place.astype(np.uint8)


def _said(numbers: frozenset[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


Mask = MaskFile | np.ndarray
"""A file, or pixels uint8 (H, W) with `IGNORED`."""


def pixels_of(mask: Mask) -> np.ndarray:
    """uint8 (H, W): the mask, read where it is a file."""
    return mask if isinstance(mask, np.ndarray) else mask.read()


def placed(mask: np.ndarray, fit: Fit, i: int, size: tuple[int, int], name: str) -> np.ndarray:
    """The mask of picture `i` in pixels of the store, uint8 `size`: the nearest pixel, `IGNORED` outside.

    Raises:
        BadData: the mask has another size than its picture.
    """
    height, width = fit.original[i].tolist()
    if mask.shape != (height, width):
        raise BadData(
            f"{name}: this mask is {mask.shape[1]}×{mask.shape[0]}, its picture {width}×{height}: "
            "they must be of one size"
        )
    rows, columns = (np.arange(n) + 0.5 for n in size)
    y = np.floor((rows - fit.offset[i, 1]) / fit.scale[i, 1]).astype(np.int64)
    x = np.floor((columns - fit.offset[i, 0]) / fit.scale[i, 0]).astype(np.int64)
    found = mask[np.ix_(y.clip(0, height - 1), x.clip(0, width - 1))]
    found[(y < 0) | (y >= height)] = IGNORED
    found[:, (x < 0) | (x >= width)] = IGNORED
    return found


def warp_masks(masks: Tensor, drawn: Warp) -> Tensor:
    """uint8 (B, Hs, Ws) of the store -> uint8 (B, H, W) of the window, moved as the pictures were.

    Shifts, crops, mirror images and the change of size are those of `drawn`; the nearest pixel is taken, and
    what lies outside is `IGNORED`.
    """
    rows, columns = masks.shape[1:]
    high, wide = (max(1, round(side * drawn.scale)) for side in drawn.size)
    across = ((torch.arange(wide, device=masks.device) + 0.5) / wide).expand(len(masks), -1)
    down = ((torch.arange(high, device=masks.device) + 0.5) / high).expand(len(masks), -1)
    across = torch.where(drawn.flip[:, None], 1 - across, across)
    if drawn.box is None:
        left, top = drawn.margin - drawn.dx, drawn.margin - drawn.dy
        height, width = drawn.size
    else:
        left, top, width, height = (side[:, None] for side in drawn.box.unbind(1))
        left, top = left[:, 0], top[:, 0]
    x = (left[:, None] + width * across).floor().long()
    y = (top[:, None] + height * down).floor().long()
    seen = masks.gather(1, y.clamp(0, rows - 1)[:, :, None].expand(-1, -1, columns))
    seen = seen.gather(2, x.clamp(0, columns - 1)[:, None, :].expand(-1, high, -1))
    outside = ((y < 0) | (y >= rows))[:, :, None] | ((x < 0) | (x >= columns))[:, None, :]
    return seen.masked_fill(outside, IGNORED)

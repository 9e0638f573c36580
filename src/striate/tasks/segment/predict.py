"""From logits to a class for every pixel of the original picture, to print, send and draw."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data.overlay import palette
from striate.data.picture import Picture, to_draw_on
from striate.data.prepare import Fit
from striate.data.rle import encode
from striate.task import Facts
from striate.tasks.segment.draw import draw

STRIP = 128
"""Rows of the original that are computed at a time, so that memory does not grow with its height."""


@dataclass(frozen=True)
class Segmentation:
    """What the network says of every pixel of one picture."""

    file: str
    classes: tuple[str, ...]
    mask: np.ndarray = field(repr=False, compare=False)
    """uint8 (H, W) of the original picture: the number of a class."""
    image: Picture | None = field(default=None, repr=False, compare=False)

    @property
    def shares(self) -> dict[str, float]:
        """Class -> its share of the pixels, the largest first; classes without a pixel are left out."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
        return {self.classes[i]: float(counts[i] / self.mask.size) for i in order}

    def to_dict(self) -> dict[str, Any]:
        """{"file", "size": [height, width], "classes": [{"class", "share", "rle"}, ...]}, the largest first.

        `rle` is COCO's run lengths down the columns: {"size": [height, width], "counts": [...]}.
        """
        regions = [
            {"class": name, "share": share, "rle": encode(self.mask == self.classes.index(name))}
            for name, share in self.shares.items()
        ]
        return {"file": self.file, "size": list(self.mask.shape), "classes": regions}

    def draw(self, image: Picture | None = None) -> Image.Image:
        """The picture with every class in its colour over it, and a legend."""
        image = to_draw_on(image, self.image, self.file)
        return draw(image, self.mask, self.classes, self.file)

    def files(self) -> dict[str, Image.Image]:
        """{".mask.png": class numbers with a palette}: what is saved beside the drawing."""
        mask = Image.fromarray(self.mask, mode="P")
        mask.putpalette([byte for colour in palette(len(self.classes)) for byte in colour])
        return {".mask.png": mask}


def decode(output: Any, facts: Facts) -> list[dict[str, Any]]:
    """Logits (B, classes, H, W) -> one {"classes": names, "logits": float32 (classes, H, W)} per picture."""
    logits = output.detach().float().cpu()
    return [{"classes": facts["classes"], "logits": one} for one in logits]


def prediction(
    decoded: dict[str, Any], *, file: str = "", image: Picture | None = None, fit: Fit | None = None
) -> Segmentation:
    """One decoded answer and the picture it is about, enlarged to its pixels."""
    logits = decoded["logits"]
    mask = logits.argmax(0).to(torch.uint8).numpy() if fit is None else to_original(logits, fit)
    return Segmentation(str(file), tuple(decoded["classes"]), mask, image)


def to_original(logits: Tensor, fit: Fit) -> np.ndarray:
    """Logits (classes, h, w) of the window -> the best class of every pixel of the original, uint8 (H, W).

    The logits are interpolated, not the classes, so that outlines stay smooth; what surrounds the picture in
    the window has no influence beyond half a pixel.
    """
    height, width = fit.original[0].tolist()
    y = (np.arange(height) + 0.5) * fit.scale[0, 1] + fit.offset[0, 1]
    x = (np.arange(width) + 0.5) * fit.scale[0, 0] + fit.offset[0, 0]
    rows, columns = _between(y, logits.shape[1]), _between(x, logits.shape[2])
    across = _mix(logits, columns, 2)
    mask = np.empty((height, width), dtype=np.uint8)
    for start in range(0, height, STRIP):
        low, high, share = (values[start : start + STRIP] for values in rows)
        mask[start : start + STRIP] = _mix(across, (low, high, share), 1).argmax(0).to(torch.uint8).numpy()
    return mask


Places = tuple[Tensor, Tensor, Tensor]
"""The cell before, the cell behind, and the share of the second."""


def _between(places: np.ndarray, cells: int) -> Places:
    """Places on an axis of cells, whose centres are at 0.5, 1.5, ..."""
    at = np.clip(places - 0.5, 0, cells - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, cells - 1)
    return torch.from_numpy(low), torch.from_numpy(high), torch.from_numpy(at - low).float()


def _mix(values: Tensor, places: Places, axis: int) -> Tensor:
    low, high, share = places
    shape = [1, 1, 1]
    shape[axis] = -1
    before, behind = values.index_select(axis, low), values.index_select(axis, high)
    return torch.lerp(before, behind, share.view(shape))

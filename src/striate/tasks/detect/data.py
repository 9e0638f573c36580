"""What detection asks of a data set: boxes with classes, all in one tensor with room for the fullest picture.

Every row of a batch has places for G things. A place holds a thing (`labels` ≥ 0, `crowd` false), ground
that is neither right nor wrong to call a thing (`crowd` true: COCO's crowds, VOC's difficult ones, and what
an augmentation has cut off), or nothing.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.data.augment import Warp
from striate.data.rle import decode, filled
from striate.data.source import Source
from striate.data.things import Outline
from striate.errors import BadData
from striate.task import Facts, Target

SAME_SIZE = 1
"""Pixels by which a picture may differ from the size that its labels give: rounding."""

VISIBLE = 0.3
"""The share of a box that must be left inside the window for it to count as the thing still."""

SMALLEST = 2.0
"""Pixels of a box's shorter side below which it is left out of training."""


def facts(source: Source) -> Facts:
    """{"classes": [name, ...]}.

    Raises `BadData` for pictures without boxes, and a set without a single thing to train on.
    """
    names = [str(name) for name in source.classes]
    for where, split in source.splits.items():
        if "boxes" not in split.targets:
            has = ", ".join(split.targets) or "nothing"
            raise BadData(
                f"{source.name}, {where}: to detect takes boxes, and these pictures have: {has}. "
                "COCO's JSON, VOC's XML, YOLO's text and CSV files are read."
            )
    split = source.splits.get("train") or next(iter(source.splits.values()))
    if not any(len(labels) for labels in split.targets["labels"]):
        raise BadData(f"{source.name}: there is not one box in its {len(split)} pictures to train on.")
    return {"classes": names}


@dataclass(frozen=True)
class Outlines:
    """The outlines of one picture's things, drawn only where a head for masks asks for them.

    A point (x, y) of the original lies at (scale_x x + offset_x, scale_y y + offset_y).
    """

    raw: list[Outline]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def masks(self, places: list[int], size: tuple[int, int]) -> np.ndarray:
        """uint8 (n, height, width), 1 on the things at `places`; one without an outline is empty."""
        found = np.zeros((len(places), *size), dtype=np.uint8)
        for row, place in enumerate(places):
            outline = self.raw[place]
            if isinstance(outline, list):
                for polygon in outline:
                    corners = np.asarray(polygon).reshape(-1, 2) * self.scale + self.offset
                    found[row] |= filled(corners, size)
            elif outline is not None:
                found[row] = self._nearest(decode(outline), size)
        return found

    def original(self, size: tuple[int, int]) -> np.ndarray:
        """bool (n, height, width) of the original picture."""
        here = replace(self, scale=(1.0, 1.0), offset=(0.0, 0.0))
        return here.masks(list(range(len(self.raw))), size).astype(bool)

    def _nearest(self, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """bool (h, w) of the original -> uint8 `size`: the nearest pixel, 0 outside."""
        height, width = mask.shape
        y = np.floor((np.arange(size[0]) + 0.5 - self.offset[1]) / self.scale[1]).astype(int)
        x = np.floor((np.arange(size[1]) + 0.5 - self.offset[0]) / self.scale[0]).astype(int)
        inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None]
        return mask[np.ix_(y.clip(0, height - 1), x.clip(0, width - 1))].astype(np.uint8) * inside


def targets(raw: Target, fit: Any) -> Target:
    """The stored truth of N pictures with at most G things each, in pixels of the store:

    boxes float32 (N, G, 4) x1, y1, x2, y2; labels int64 (N, G), -1 where there is nothing; crowd bool (N, G);
    area float32 (N, G) of the original's pixels; place float64 (N, 6) scale x, y and offset x, y of original
    points, and the original's width and height; image_id int64 (N,); outlines, one
    `Outlines` a picture, where the split has any.
    """
    n = len(raw["labels"])
    for (height, width, name), seen in zip(raw.get("size", ()), fit.original, strict=False):
        if (height or width) and max(abs(height - seen[0]), abs(width - seen[1])) > SAME_SIZE:
            raise BadData(
                f"{name}: its labels are of {width:g}×{height:g} pixels, and the picture has "
                f"{seen[1]:g}×{seen[0]:g}, upright: scale or turn both alike, or label them as they are"
            )
    most = max((len(labels) for labels in raw["labels"]), default=0) or 1
    boxes, labels = np.zeros((n, most, 4), dtype=np.float32), np.full((n, most), -1, dtype=np.int64)
    crowd, area = np.zeros((n, most), dtype=bool), np.zeros((n, most), dtype=np.float32)
    for i in range(n):
        count = len(raw["labels"][i])
        boxes[i, :count] = fit.apply(raw["boxes"][i].reshape(-1, 2), i).reshape(-1, 4)
        labels[i, :count], crowd[i, :count] = raw["labels"][i], raw["crowd"][i]
        area[i, :count] = raw["area"][i]
    place = np.concatenate([fit.scale, fit.offset, fit.original[:, ::-1]], axis=1)
    found: Target = {"boxes": boxes, "labels": labels, "crowd": crowd, "area": area, "place": place}
    found["image_id"] = np.asarray(raw["image_id"], dtype=np.int64)
    found = {key: torch.from_numpy(value) for key, value in found.items()}
    if "outlines" in raw:
        found["outlines"] = [
            Outlines(raw["outlines"][i], (sx, sy), (ox, oy))
            for i, (sx, sy, ox, oy, *_) in enumerate(place.tolist())
        ]
    return found


def things(target: Target) -> Tensor:
    """bool (B, G): the places that hold a thing to be found."""
    return (target["labels"] >= 0) & ~target["crowd"]


def move(target: Target, drawn: Warp) -> Target:
    """The truth after the augmentation that moved the pixels, cut off at the window's edges.

    A box of which less than `VISIBLE` is left becomes ground that is neither right nor wrong; where the
    window was resized, everything is in pixels of the resized one.
    """
    batch, most = target["labels"].shape
    corners = drawn.move_points(target["boxes"].view(batch, 2 * most, 2)).view(batch, most, 2, 2)
    whole = torch.cat([corners.amin(2), corners.amax(2)], dim=-1)
    height, width = (side * drawn.scale for side in drawn.size)
    boxes = torch.stack([whole[..., 0::2].clamp(0, width), whole[..., 1::2].clamp(0, height)], -1).flatten(-2)
    before, after = (_sides(box) for box in (whole, boxes))
    left = after.prod(-1) / before.prod(-1).clamp(min=1e-6)
    gone, cut = after.prod(-1) <= 0, (left < VISIBLE) | (after.amin(-1) < SMALLEST)
    moved = dict(target) | {
        "boxes": boxes,
        "labels": target["labels"].masked_fill(gone, -1),
        "crowd": (target["crowd"] | cut) & ~gone,
    }
    if "outlines" in target:
        here = drawn.cpu()
        moved["outlines"] = [_moved(outlines, here, i) for i, outlines in enumerate(target["outlines"])]
    return moved


def _moved(outlines: Outlines, drawn: Warp, picture: int) -> Outlines:
    """The same outlines where the picture went: two points tell, as no turn is among the moves."""
    ends = torch.tensor(
        [outlines.offset, [a + b for a, b in zip(outlines.offset, outlines.scale, strict=True)]]
    )
    start, end = drawn.move_points(ends, picture).tolist()
    return replace(outlines, scale=(end[0] - start[0], end[1] - start[1]), offset=(start[0], start[1]))


def _sides(boxes: Tensor) -> Tensor:
    """(..., 4) -> (..., 2) width and height."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)

"""Things in pictures: a box, a class, and where known an outline and joints. What all readers of them share.

Boxes are x1, y1, x2, y2 in pixels of the picture, measured from its top left corner: a box around the first
pixel alone is 0, 0, 1, 1. A split of such pictures has these raw targets, one value a picture:

| field     | of n things                                                        |
|-----------|--------------------------------------------------------------------|
| boxes     | float32 (n, 4)                                                     |
| labels    | int64 (n,): numbers of the source's classes                        |
| crowd     | bool (n,): COCO's crowds and VOC's difficult ones: no miss, no hit |
| area      | float32 (n,): pixels of the outline where one is known, else of the box |
| outlines  | list of n: polygons [[x, y, x, y, ...], ...], run lengths, or None; only where any is known |
| image_id  | the picture's number: the format's own, else counted from 1        |
| size      | the picture's height and width as COCO's file says it (or zeros), and its name; only of COCO |
| keypoints | float32 (n, K, 3) x, y, v: 0 not labelled, 1 covered, 2 seen; only with a skeleton |
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.errors import BadData

SLACK = 2.0
"""Pixels by which a box may reach over the edge: rounding, and formats that count from 1."""

WORDS = re.compile(
    r"""(
    [\W_]+
    | (?<=[a-z])(?=[A-Z0-9]) | (?<=[A-Z])(?=[A-Z][a-z]|[0-9])   # leftEye, LEye, L1
    | (?<=^left)(?=[a-z]) | (?<=^right)(?=[a-z])                # lefteye
    | (?<=^L)(?!eft)(?=[a-z]{3}) | (?<=^R)(?!ight)(?=[a-z]{3})  # Lshoulder
    )""",
    re.VERBOSE,
)
"""Between the words of a joint's name."""

Outline = list[list[float]] | dict[str, Any] | None


@dataclass
class Thing:
    """One thing in one picture."""

    box: tuple[float, float, float, float]
    label: int
    crowd: bool = False
    area: float | None = None
    outline: Outline = None
    keypoints: np.ndarray | None = None


def checked_box(
    box: tuple[float, float, float, float], size: tuple[float, float], where: str
) -> tuple[float, float, float, float] | None:
    """The box, cut off at the edges of a picture of `size` (height, width); None where it has no area.

    Raises:
        BadData: it reaches over the edge by more than `SLACK` pixels, or ends before it begins.
    """
    height, width = size
    x1, y1, x2, y2 = box
    if not all(np.isfinite(box)) or x2 < x1 or y2 < y1:
        raise BadData(f"{where}: the box {_said(box)} ends before it begins; it is x1, y1, x2, y2")
    if min(x1, y1) < -SLACK or x2 > width + SLACK or y2 > height + SLACK:
        raise BadData(f"{where}: the box {_said(box)} lies outside its picture of {width}×{height}")
    cut = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    return cut if cut[2] > cut[0] and cut[3] > cut[1] else None


def _said(box: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in box)


def targets(pictures: list[list[Thing]], joints: int = 0) -> dict[str, list[Any]]:
    """The raw targets of a split, from the things of every picture."""
    fields: dict[str, list[Any]] = {
        "boxes": [np.array([t.box for t in p], dtype=np.float32).reshape(-1, 4) for p in pictures],
        "labels": [np.array([t.label for t in p], dtype=np.int64) for p in pictures],
        "crowd": [np.array([t.crowd for t in p], dtype=bool) for p in pictures],
        "area": [np.array([_area(t) for t in p], dtype=np.float32) for p in pictures],
        "image_id": list(range(1, len(pictures) + 1)),
    }
    if any(t.outline is not None for p in pictures for t in p):
        fields["outlines"] = [[t.outline for t in p] for p in pictures]
    if joints:
        none = np.zeros((joints, 3), dtype=np.float32)
        fields["keypoints"] = [
            np.array([none if t.keypoints is None else t.keypoints for t in p], dtype=np.float32).reshape(
                -1, joints, 3
            )
            for p in pictures
        ]
    return fields


def _area(thing: Thing) -> float:
    x1, y1, x2, y2 = thing.box
    return (x2 - x1) * (y2 - y1) if thing.area is None else thing.area


def mirrored(joints: list[str]) -> list[int]:
    """The joint that each becomes in a mirror, found by name: left and right, or l and r, change places.

    Words end at signs and spaces, before numbers and where small letters end, and behind a side at the very
    beginning: left_eye, leftEye, LEye, lefteye, Leye, L1.

    >>> mirrored(["left_eye", "right_eye", "nose"])
    [1, 0, 2]
    """
    swap = {"left": "right", "right": "left", "l": "r", "r": "l"}
    split = [[part.lower() for part in WORDS.split(joint)] for joint in joints]
    partners = {"".join(parts): place for place, parts in enumerate(split)}
    return [
        partners.get("".join(swap.get(part, part) for part in parts), place)
        for place, parts in enumerate(split)
    ]

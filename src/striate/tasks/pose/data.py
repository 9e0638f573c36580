"""What pose asks of a data set: people with joints, each cut out of its picture as a sample of its own."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from striate.data.augment import Warp
from striate.data.picture import cut
from striate.data.source import ImageFile, Source, Split
from striate.errors import BadData
from striate.task import Facts, Target

LARGER = 1.25
"""How much larger than the person's box the square is that is cut out (longer side to side)."""

SIDE = 64
"""Pixels that people cut from small decoded pictures are brought to."""


def samples(source: Source) -> Source:
    """The same set with one picture a person: a square around the person's box, grey where it leaves the
    picture, and joints in pixels of the square. Crowds and people without a known joint are left out.

    Raises:
        BadData: pictures without joints, or not one person among them.
    """
    splits = {name: _people(source, name) for name in source.splits}
    number = source.notes.get("jointed", source.class_numbers[0])
    return replace(source, splits=splits, notes=source.notes | {"category_ids": [number]})


def _people(source: Source, name: str) -> Split:
    split = source.splits[name]
    if "keypoints" not in split.targets or "joints" not in source.notes:
        has = ", ".join(split.targets) or "nothing"
        raise BadData(
            f"{source.name}, {name}: to find poses takes joints, and these pictures have: {has}. COCO's "
            "keypoints, YOLO's (with kpt_shape) and the Leeds Sports sets are read."
        )
    fields = ("image_id", "boxes", "crowd", "keypoints", "area")
    images, points, corners, people = [], [], [], []
    for i, (number, *rows) in enumerate(zip(*(split.targets[field] for field in fields), strict=True)):
        for box, many, known, area in zip(*rows, strict=True):
            if many or not (known[:, 2] > 0).any():
                continue
            square = around(box)
            scale = 1.0
            if isinstance(split.images, np.ndarray):
                pixels = split.images[i].transpose(1, 2, 0)
                seen = cut(Image.fromarray(pixels.squeeze()), square)
                scale = SIDE / seen.width
                images.append(np.asarray(seen.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))
            else:
                images.append(replace(split.images[i], box=square))
            moved = known.astype(np.float64)
            moved[:, :2] = (moved[:, :2] - square[:2]) * scale
            points.append(moved)
            corners.append((*square[:2], scale))
            people.append((*(float(side) for side in box), float(area), int(number)))
    if not images:
        raise BadData(f"{source.name}, {name}: there is not one person with joints in its pictures.")
    if not isinstance(images[0], ImageFile):
        stacked = np.stack(images)
        images = stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)
        images = np.ascontiguousarray(images)
    swap = np.tile(np.asarray(source.notes["mirrored"], dtype=np.int64), (len(points), 1))
    boxes, area, number = np.split(np.array(people), (4, 5), axis=1)
    found = {"keypoints": np.stack(points), "corner": np.array(corners), "mirrored": swap}
    found |= {"boxes": boxes, "area": area[:, 0], "image_id": number[:, 0].astype(np.int64)}
    return Split(images, found)


def around(box: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 in whole pixels: a square with the box in its middle."""
    x1, y1, x2, y2 = (float(v) for v in box)
    side = max(2, round(LARGER * max(x2 - x1, y2 - y1)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    return left, top, left + side, top + side


def facts(source: Source) -> Facts:
    """{"classes": ["person"], "joints": [name, ...], "bones": [[from, to], ...], "mirrored": [...]}."""
    plain = {
        key: [list(b) if key == "bones" else b for b in source.notes[key]] for key in ("joints", "bones")
    }
    return {"classes": ["person"], **plain, "mirrored": list(source.notes["mirrored"])}


def targets(raw: Target, fit: Any) -> Target:
    """The stored truth of N people with K joints:

    keypoints float32 (N, K, 3) x, y in pixels of the store, v; mirrored int64 (N, K), the joint that each
    becomes in a mirror; place float64 (N, 4), scale x, y and offset x, y of points of the whole picture;
    boxes float32 (N, 4) and area float32 (N,) in its pixels; image_id int64 (N,), its number.
    """
    points = np.array([fit.apply(one[:, :2], i) for i, one in enumerate(raw["keypoints"])])
    points = np.concatenate([points, raw["keypoints"][:, :, 2:]], axis=2).astype(np.float32)
    corner, scale = raw["corner"][:, :2], fit.scale * raw["corner"][:, 2:]
    found = {"keypoints": points, "mirrored": raw["mirrored"], "image_id": raw["image_id"]}
    found |= {key: raw[key].astype(np.float32) for key in ("boxes", "area")}
    found["place"] = np.concatenate([scale, fit.offset - corner * scale], axis=1)
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in found.items()}


def move(target: Target, drawn: Warp) -> Target:
    """The joints after the augmentation: left and right change places in a mirror, and a joint that has left
    the window is as if it were not known."""
    joints = target["keypoints"]
    xy = drawn.move_points(joints[..., :2])
    height, width = (side * drawn.scale for side in drawn.size)
    inside = (xy >= 0).all(-1) & (xy[..., 0] < width) & (xy[..., 1] < height)
    moved = torch.cat([xy, torch.where(inside, joints[..., 2], 0.0)[..., None]], dim=-1)
    swapped = moved.gather(1, target["mirrored"][..., None].expand(-1, -1, 3))
    return dict(target) | {"keypoints": torch.where(drawn.flip[:, None, None], swapped, moved)}

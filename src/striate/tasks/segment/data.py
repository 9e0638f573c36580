"""What segmentation asks of a data set: named classes, and a mask of a picture's size for every picture."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import torch

from striate.data.augment import Warp
from striate.data.masks import IGNORED, Mask, MaskFile, pixels_of, placed, warp_masks
from striate.data.source import Source
from striate.errors import BadData
from striate.task import Facts, Target

LOOKED_AT = 500
"""Masks, evenly spaced, in which the pixels of every class are counted."""

WHITE = (
    "In masks 255 is no class: where white is one, name the colours in class_dict.csv (name,r,g,b) beside "
    "the folders, in place of classes.txt."
)


def facts(source: Source) -> Facts:
    """{"classes": [name, ...], "frequencies": [share of the training pixels, ...]}.

    Raises `BadData` for fewer than two classes, pictures without masks, and training masks that show fewer
    than two of the classes.
    """
    names = [str(name) for name in source.classes]
    if "background" in source.notes:  # the classes are of things, and pixels of no thing are a class too
        names = [source.notes["background"], *names]
    for where, split in source.splits.items():
        if "mask" not in split.targets:
            has = ", ".join(split.targets) or "nothing"
            raise BadData(
                f"{source.name}, {where}: to segment takes a mask a picture, and these have: {has}. "
                "Put masks in a folder beside the pictures: images/a.jpg, masks/a.png."
            )
    if len(names) < 2:
        raise BadData(f"{source.name}: to segment takes two classes or more, here are {len(names)}. {WHITE}")
    split = source.splits.get("train") or next(iter(source.splits.values()))
    masks = split.targets["mask"]
    counts = _count(islice(masks, 0, None, -(-len(masks) // LOOKED_AT)), len(names))
    if np.count_nonzero(counts) < 2 and len(masks) > LOOKED_AT:
        counts = _count(masks, len(names))
    if np.count_nonzero(counts) < 2:
        shown = ", ".join(names[number] for number in np.flatnonzero(counts)) or "no class at all"
        raise BadData(
            f"{source.name}: to segment takes two classes or more, and the masks to learn from show {shown}. "
            f"{WHITE}"
        )
    return {"classes": names, "frequencies": (counts / counts.sum()).round(6).tolist()}


def _count(masks: Iterable[Mask], classes: int) -> np.ndarray:
    """The pixels of every class, int64 (classes,)."""
    with ThreadPoolExecutor() as pool:
        counts = pool.map(lambda mask: np.bincount(pixels_of(mask).ravel(), minlength=256), masks)
        return np.asarray(sum(count[:classes] for count in counts))


def targets(raw: Target, fit: Any) -> Target:
    """{"mask": uint8 tensor (N, H, W)} in pixels of the store, `IGNORED` where there is no class or picture.

    Raises `BadData` for a mask that cannot be read or has another size than its picture.
    """
    masks = raw["mask"]
    found = torch.full((len(masks), *fit.size), IGNORED, dtype=torch.uint8)
    kept = found.numpy()

    def read(i: int) -> None:
        name = masks[i].file.name if isinstance(masks[i], MaskFile) else f"mask #{i}"
        kept[i] = placed(pixels_of(masks[i]), fit, i, fit.size, name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(masks))))
    return {"mask": found}


def move(target: Target, drawn: Warp) -> Target:
    """The masks after the augmentation that moved the pixels."""
    return {"mask": warp_masks(target["mask"], drawn)}

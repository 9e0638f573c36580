"""Sets made from named ones, as experiments of the literature made them.

mnist-50k        MNIST with its last 10,000 training pictures as `val`, as Nielsen and others split it
mnist-expanded   the same, each training picture also moved by one pixel up, down, left and right (250,000)
scenes           pictures made up from the built-in digits and a figure, see data/scenes.py
"""

from dataclasses import replace

import numpy as np

from striate.data.scenes import scenes
from striate.data.source import Source, Split

DERIVED = {"mnist-50k": "mnist", "mnist-expanded": "mnist", "scenes": "digits"}
"""Name -> the named set it is made from."""

KEPT = 50_000


def derive(name: str, source: Source) -> Source:
    """The set `name` of `DERIVED`, made from the one it names."""
    if name == "scenes":
        return scenes(source)
    whole = source.splits["train"]
    train, val = whole.subset(range(KEPT)), whole.subset(range(KEPT, len(whole)))
    if name == "mnist-expanded":
        train = moved(train)
    splits = {"train": train, "val": val, "test": source.splits["test"]}
    return replace(source, name=name, splits=splits)


def moved(split: Split) -> Split:
    """Every picture (N, C, H, W) five times: as it is, and moved by a pixel each way, zeros coming in.

    Nielsen, chapter 6 (expand_mnist.py); the copies of one picture stand together.
    """
    images = np.asarray(split.images)
    copies = np.zeros((len(images), 5, *images.shape[1:]), dtype=images.dtype)
    copies[:, 0] = images
    copies[:, 1, :, 1:] = images[:, :, :-1]
    copies[:, 2, :, :-1] = images[:, :, 1:]
    copies[:, 3, :, :, 1:] = images[..., :-1]
    copies[:, 4, :, :, :-1] = images[..., 1:]
    labels = {key: np.repeat(np.asarray(value), 5) for key, value in split.targets.items()}
    return Split(copies.reshape(-1, *images.shape[1:]), labels)

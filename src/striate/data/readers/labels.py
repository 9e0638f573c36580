"""What the readers of labelled pictures share: usual names of splits, order of classes, the target."""

from collections.abc import Iterable
from typing import Any

import numpy as np

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Usual names of folders (and of values in a CSV's `split` column) to ours."""


def labelled(labels: np.ndarray) -> dict[str, Any]:
    """The raw target of classification: one class number per picture, int64 (N,)."""
    return {"label": labels.astype(np.int64)}


def class_order(names: Iterable[str]) -> list[str]:
    """Class names sorted: by value where all are whole numbers, else by letters."""
    names = list(names)
    return sorted(names, key=int) if all(n.isascii() and n.isdigit() for n in names) else sorted(names)

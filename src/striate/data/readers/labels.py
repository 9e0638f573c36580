"""What the readers of labelled pictures share: names of splits, order of classes, the target."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from striate.errors import BadData

SPLITS = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Usual names of folders (and of values in a CSV's `split` column) to ours. Files and folders called
`trainval` count only where none is called `train`: they hold its pictures, and those of `val`, over again."""


def split_of(path: Path) -> str:
    """The split that a name speaks of, or `all`: `imagenet-train-000012.tar` is of `train`."""
    words = re.findall("[a-z]+", path.stem.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "all")


def by_split(files: list[Path]) -> dict[str, list[Path]]:
    """The files of each split that their names speak of; `trainval` counts as is said of `SPLITS`."""
    plain = [file for file in files if "trainval" not in file.stem.lower()]
    found: dict[str, list[Path]] = {}
    for file in plain if "train" in map(split_of, plain) else files:
        found.setdefault(split_of(file), []).append(file)
    return found


def text_of(file: Path) -> str:
    """What a text file says, without the mark that some editors begin it with.

    Raises:
        BadData: it cannot be read, or is not in UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as why:
        raise BadData(f"{file}: cannot be read as text: {why}; save it as UTF-8") from why


def labelled(labels: np.ndarray) -> dict[str, Any]:
    """The raw target of classification: one class number per picture, int64 (N,)."""
    return {"label": labels.astype(np.int64)}


def class_order(names: Iterable[str]) -> list[str]:
    """Class names sorted: by value where all are whole numbers, else by letters."""
    names = list(names)
    return sorted(names, key=int) if all(n.isascii() and n.isdigit() for n in names) else sorted(names)

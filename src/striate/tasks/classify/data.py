"""What classification asks of a data set: named classes, and one whole number per picture."""

from typing import Any

import numpy as np
import torch

from striate.data.source import Source, Split
from striate.errors import BadData
from striate.task import Facts, Target

TRAINED_ON = ("train", "all")
"""The splits in which every class must have pictures."""


def facts(source: Source) -> Facts:
    """{"classes": [name, ...]}, after every split's labels were checked.

    Raises `BadData` for fewer than two classes, two classes of one name, a label that is not the number of a
    class (naming the file), and a class without a training picture.
    """
    names = [str(name) for name in source.classes]
    if len(names) < 2:
        found = f"only one class ({names[0]})" if names else "no classes"
        raise BadData(
            f"{source.name}: {found} found; to classify takes two or more: a folder or a label each."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{source.name}: two classes are called {twice[0]!r}; rename one of them.")
    for where, split in source.splits.items():
        _check(source.name, where, split, names)
    return {"classes": names}


def _check(source: str, where: str, split: Split, names: list[str]) -> None:
    """Every label of one split is a class's number; every class was given something to learn from."""
    labels = whole_numbers(split.targets, f"{source}, {where}")
    if len(labels) != len(split):
        raise BadData(
            f"{source}, {where}: {len(labels)} labels for {len(split)} pictures; give each one label."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        file, label = split.name(int(wrong[0])), labels[wrong[0]]
        raise BadData(
            f"{source}, {where}, {file}: its label is {label}, but {len(names)} classes are numbered "
            f"0 to {len(names) - 1} ({len(wrong)} such in this split); correct the label or add the class."
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
    if where in TRAINED_ON and len(empty):
        raise BadData(
            f"{source}, {where}: class {names[empty[0]]!r} has no pictures ({len(empty)} such); "
            "add some or remove the class."
        )


def whole_numbers(raw: Target, where: str) -> np.ndarray:
    """A split's labels as int64 (N,); raises `BadData` where they are missing, mixed or no whole numbers."""
    if "label" not in raw:
        has = ", ".join(raw) or "nothing"
        raise BadData(
            f"{where}: to classify takes a class for every picture, and these have: {has}. Put the pictures "
            "of each class into a folder of its name, or see whether train detect, segment or pose is meant."
        )
    values = raw["label"]
    kinds = {type(value) for value in values} if isinstance(values, list | tuple) else set()
    named = {"int" if issubclass(kind, int | np.integer) else kind.__name__ for kind in kinds}
    labels = np.asarray(values if len(named) < 2 else [])
    if len(named) > 1 or labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
        found = " and ".join(sorted(named)) or f"{labels.dtype} of shape {labels.shape}"
        raise BadData(f"{where}: labels must be one whole number a picture, these are {found}; use one kind.")
    return labels.astype(np.int64)


def targets(raw: Target, fit: Any) -> Target:
    """Raw labels of a split -> {"label": int64 tensor (N,)}; where the pixels went (`fit`) changes none."""
    labels = whole_numbers(raw, "labels")
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        raise BadData(f"picture #{wrong[0]}: its label is {labels[wrong[0]]}; classes are numbered from 0.")
    return {"label": torch.from_numpy(labels)}

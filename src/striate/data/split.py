"""Splits for a set that has none of its own: a fifth is held out, class by class, the same for the same seed.

| the source has          | you get                                       |
|-------------------------|-----------------------------------------------|
| `all`                   | `train` 80 %, `val` 20 %                      |
| `all` and others        | `all` becomes `train`                         |
| only `train`            | `train` 80 %, `val` 20 %                      |
| `train` and `val`       | as they are                                   |
| `train` and `test`      | as they are; `hold_out` carves a `val` if asked |
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from striate.data.source import Source, Split
from striate.errors import BadData, BadSetting

HELD_OUT = 0.2

WATCHED = 0.1
"""The share that a training which ends by itself holds out of a set that has a test split and no other."""


def split(source: Source, seed: int = 0) -> Source:
    """The source with splits to train and to evaluate on, by the table above."""
    if "all" in source.splits and "train" not in source.splits:
        named = {"train" if name == "all" else name: part for name, part in source.splits.items()}
        source = replace(source, splits=named)
    return hold_out(source, HELD_OUT, seed) if set(source.splits) == {"train"} else source


def to_judge(whole: Source, seed: int, learned: dict[str, str]) -> Source:
    """A set for a model that learned from the splits of which `learned` has the fingerprints.

    Where it has no splits of its own, those of the training if it is the same set in another place, and all
    of it if it is another: none of that need be held out.
    """
    if not {"val", "test"}.isdisjoint(whole.splits):
        return split(whole, seed)
    counted = sum(int(fingerprint.split()[0]) for fingerprint in learned.values())
    if counted != sum(map(len, whole.splits.values())):
        return whole
    again = split(whole, seed)
    return again if again.unchanged(None, "") == learned else whole


def hold_out(source: Source, fraction: float, seed: int) -> Source:
    """The source with `val`: `fraction` of each class of `train`. One that has a `val` stays as it is.

    A class never loses its last picture of `train`. Without labels, pictures are drawn from all of them.
    """
    if not 0 < fraction < 1:
        raise BadSetting(f"fraction {fraction}: the part held out lies between 0 and 1")
    if "val" in source.splits:
        return source
    train = source.splits.get("train")
    if train is None:
        raise BadData(f"{source.name}: has no train split to hold pictures out of")
    held = _draw(train, fraction, np.random.default_rng(seed))
    if not held.any():
        raise BadData(
            f"{source.name}: {len(train)} pictures are too few to hold out {fraction:.0%} of each class"
        )
    parts = {
        "train": train.subset(np.flatnonzero(~held).tolist()),
        "val": train.subset(np.flatnonzero(held).tolist()),
    }
    others = {key: s for key, s in source.splits.items() if key != "train"}
    return replace(source, splits=parts | others, held_out=True)


def _draw(train: Split, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """bool (N,): which pictures are held out."""
    held = np.zeros(len(train), dtype=bool)
    labels = _labels(train.targets.get("label"), len(train))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(len(members) * fraction)) if len(members) > 1 else 0
        held[rng.permutation(members)[: min(count, len(members) - 1)]] = True
    return held


def _labels(labels: Sequence[Any] | None, n: int) -> np.ndarray:
    return np.zeros(n, dtype=np.int64) if labels is None else np.asarray(labels)

"""Doubts about labels: what a quick classifier, that never saw the picture, finds hard to believe.

Small grey or colour thumbnails, linear discriminant analysis and nearest neighbours (scikit-learn). It is a
weak judge, so it speaks only where both are nearly certain, and of whole splits only where another reading of
the labels fits much better than the given one.
"""

import numpy as np
import torch

from striate.data.doctor import Finding, labels_of, names_of
from striate.data.source import Source
from striate.data.store import Store

MOST = 5000
"""Pictures of a split that are judged."""

SIDE = 12
"""Of the thumbnails."""

NEIGHBOURS = 10

SURE = 0.999
"""How certain of another class the discriminant must be before a label is doubted."""

TRUSTED = 0.8
"""How often the discriminant must be right before it is asked about single labels."""

BETTER = 0.2
"""How much more often another reading of the labels must be right before it is mentioned."""


def doubts(source: Source, stores: dict[str, Store], seed: int = 0) -> list[Finding]:
    """Single labels that look wrong, and splits whose labels look permuted or moved by a place."""
    first = "train" if "train" in stores else next(iter(stores))
    names = names_of(source)
    features = {name: _thumbnails(store, seed) for name, store in stores.items()}
    found: list[Finding] = []
    for split, (rows, x) in features.items():
        labels = labels_of(stores[split])
        if len(x) < 20 or min(np.unique(labels[rows], return_counts=True)[1]) < 3:
            continue
        moved = _moved(stores[split], labels, split)
        found += moved
        if not moved:
            found += _single(stores[split], x, labels, rows, split, names, seed)
    rows, x = features[first]
    for split, (others, y) in features.items():
        if split != first and len(x) >= 20:
            found += _permuted(
                x, labels_of(stores[first])[rows], y, labels_of(stores[split])[others], split, names
            )
    return found


def _thumbnails(store: Store, seed: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(rows looked at, their standardised thumbnails (n, features))."""
    if rows is None:
        rows = np.sort(np.random.default_rng(seed).permutation(len(store))[:MOST])
    small = torch.nn.functional.adaptive_avg_pool2d(store.images[torch.from_numpy(rows)].cpu().float(), SIDE)
    x = small.flatten(1).numpy() / 255
    return rows, x - x.mean(axis=1, keepdims=True)


def _discriminant():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _unseen(x: np.ndarray, labels: np.ndarray, folds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(classes, probabilities (n, classes)) for every picture from a model that did not see it."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    chances = cross_val_predict(_discriminant(), x, labels, cv=parts, method="predict_proba")
    return np.unique(labels), chances


def _single(
    store: Store, x: np.ndarray, labels: np.ndarray, rows: np.ndarray, split: str, names: list[str], seed: int
) -> list[Finding]:
    """Pictures that the discriminant and their neighbours both take for one other class."""
    from sklearn.neighbors import NearestNeighbors

    given = labels[rows]
    classes, chances = _unseen(x, given)
    other = classes[chances.argmax(axis=1)]
    if (other == given).mean() < TRUSTED:
        return []
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(x).kneighbors(x, return_distance=False)[:, 1:]
    agree = (given[near] == other[:, None]).mean(axis=1)
    wrong = (other != given) & (chances.max(axis=1) > SURE) & (agree >= 0.9)
    which = np.flatnonzero(wrong)
    if not len(which):
        return []
    files = tuple(store.names[rows[i]] for i in which)
    looks = tuple(names[other[i]] for i in which)
    text = (
        f"{split}: {len(which)} label{'s look' if len(which) > 1 else ' looks'} swapped: "
        f"{files[0]} is labelled {names[given[which[0]]]} and looks like {looks[0]}"
    )
    rows_found = tuple(int(rows[i]) for i in which)
    return [Finding("label", "warning", text, files, split, "look at them", rows_found, looks)]


def _moved(store: Store, labels: np.ndarray, split: str) -> list[Finding]:
    """Whether the labels fit the pictures much better one place further on or back."""
    rows = np.arange(min(len(store), MOST))
    _, x = _thumbnails(store, 0, rows)
    right = {}
    for by in (0, 1, -1):
        shifted = np.roll(labels, by)[rows]
        if min(np.unique(shifted, return_counts=True)[1]) < 3:
            return []
        classes, chances = _unseen(x, shifted)
        right[by] = float((classes[chances.argmax(axis=1)] == shifted).mean())
    best = max(right, key=right.__getitem__)
    if right[best] < right[0] + BETTER:
        return []
    where = "one place further on" if best > 0 else "one place back"
    text = (
        f"{split}: the labels look off by one: moved {where}, {right[best]:.0%} of them "
        f"can be told from the pictures, as they are {right[0]:.0%}"
    )
    return [Finding("offset", "error", text, (), split, "check how pictures and labels were put together")]


def _permuted(
    x: np.ndarray, labels: np.ndarray, y: np.ndarray, given: np.ndarray, split: str, names: list[str]
) -> list[Finding]:
    """Whether a split's labels are those of the first one under other names: two exchanged, all plus one."""
    from scipy.optimize import linear_sum_assignment

    seen = _discriminant().fit(x, labels).predict(y)
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (given, seen), 1)
    _, best = linear_sum_assignment(-table)
    moved = [
        i
        for i in range(len(names))
        if best[i] != i and table[i].sum() >= 5 and table[i, best[i]] > 0.5 * table[i].sum() + table[i, i]
    ]
    if not moved:
        return []
    steps = {int((best[i] - i) % len(names)) for i in range(len(names)) if table[i].sum()}
    by_one = len(names) > 2 and len(steps) == 1 and steps <= {1, len(names) - 1}
    pairs = ", ".join(f"{names[i]} looks like {names[best[i]]}" for i in moved[:4])
    what = "all labels look off by one" if by_one else "labels look swapped"
    text = f"{split}: {what} against the training pictures: {pairs}"
    return [Finding("permuted", "error", text, (), split, "check how this split was labelled")]

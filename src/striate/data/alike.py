"""Pictures that are the same, or nearly: exact duplicates by their pixels' key, near ones by thumbnails.

Two pictures are nearly the same when their thumbnails, evened out in brightness and contrast, correlate
above a limit: saved again, scaled or brightened they do, another picture of the same thing does not. Simple
grey pictures resemble each other more than photographs do, so their limit is higher: the digit 1 of two
people reaches 0.99.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

COLOUR, GREY = 0.98, 0.997
"""Correlation of two thumbnails from which they count as one picture."""

MOST = 150_000
"""Pictures that are compared each with each: half a minute's work."""

MANY = 1_000_000
"""Pairs after which the search ends: such a set is not one of different pictures."""


def groups(keys: np.ndarray) -> list[np.ndarray]:
    """The rows, ascending, of every key that occurs twice or more; in order of their first rows."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    parts = np.split(order, np.flatnonzero(ranked[1:] != ranked[:-1]) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def nearly(thumbs: Tensor, keys: np.ndarray) -> np.ndarray:
    """uint8 (N, C, S, S) -> int64 (P, 2): rows (lower first) of nearly equal pictures with different keys.

    Candidates are the pairs whose 8×8 grey versions agree. Sorted by their principal component, only those
    within reach of each other are compared, a block at a time by one matrix product.
    """
    limit, coarse = (COLOUR, COLOUR) if thumbs.shape[1] == 3 else (GREY, 0.995)
    found = _candidates(_coarse(thumbs), coarse)
    kept = [pairs[_correlation(thumbs, pairs) > limit] for pairs in found.split(4096)]
    pairs = torch.cat(kept).sort(dim=1).values.numpy() if kept else np.empty((0, 2), dtype=np.int64)
    pairs = pairs[keys[pairs[:, 0]] != keys[pairs[:, 1]]]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _unit(pixels: Tensor) -> Tensor:
    """(N, ...) -> float32 (N, D): mean 0 and length 1, so that a dot product is a correlation."""
    rows = pixels.float().flatten(1)
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


def _correlation(thumbs: Tensor, pairs: Tensor) -> Tensor:
    return (_unit(thumbs[pairs[:, 0]]) * _unit(thumbs[pairs[:, 1]])).sum(1)


def _coarse(thumbs: Tensor) -> Tensor:
    """float32 (N, 64): 8×8 grey versions, turned so that the first number varies most."""
    side = thumbs.shape[2] // 8
    parts = [F.avg_pool2d(some.float().mean(1, keepdim=True), side) for some in thumbs.split(4096)]
    rows = _unit(torch.cat(parts))
    centred = rows - rows.mean(0)
    return rows @ torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)


def _candidates(rows: Tensor, limit: float, block: int = 1024) -> Tensor:
    """int64 (P, 2): pairs of unit rows whose dot product exceeds `limit`, in no particular order."""
    order = rows[:, 0].argsort()
    rows = rows[order].contiguous()
    first, reach, count = rows[:, 0].contiguous(), (2 - 2 * limit) ** 0.5, 0
    found = [torch.empty((0, 2), dtype=torch.int64)]
    for start in range(0, len(rows), block):
        mine = rows[start : start + block]
        stop = int(torch.searchsorted(first, first[start + len(mine) - 1] + reach, right=True))
        products = mine @ rows[start:stop].T
        before = torch.ones((len(mine), len(mine)), dtype=torch.bool).tril()
        products[:, : len(mine)].masked_fill_(before, -1)
        some = (products.amax(1) > limit).nonzero()[:, 0]
        a, b = (products[some] > limit).nonzero(as_tuple=True)
        found.append(torch.stack([order[start + some[a]], order[start + b]], dim=1))
        count += len(a)
        if count > MANY:
            break
    return torch.cat(found)

"""Tiles, points and matrices for maps of one size, and when they pay."""

from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil

import torch
from torch import Tensor

POINTS = {
    2: (1.0,), 3: (0.38, 1.28), 4: (0.65, 1.54),
    5: (0.28, 0.85, 1.77), 6: (0.51, 1.0, 1.98), 7: (0.23, 0.68, 1.13, 2.18),
}  # fmt: skip
"""Results of a tile along one side -> the points; their negatives, infinity and, for even sizes, 0 too. From
two results on, a tile overlaps the next one and no further."""

WHOLE = 16
"""The longest side of a map that is transformed as a whole; larger ones are cut into tiles first."""

COSTS = {"ready": (145.0, 20.0), "training": (120.0, 80.0)}
"""Multiplications in whose time one number of a tile or a result is transformed, and one of a filter, which
was transformed before and is only read, or is transformed with its gradient; fitted to measurements, in which
every row of a whole map's tiles costs the filters once more."""
STARTING, GAIN = 3e7, 1.05
"""Multiplications in whose time a dozen products are begun, and by how much it has to be faster."""


@cache
def transforms(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """For so many results m of a tile along one side: those of results (m, m + 2), filters (m + 2, 3) and
    tiles (m + 2, m + 2), as section 4 builds them from Toom and Cook's products of polynomials."""
    finite = [sign * point for point in POINTS[size] for sign in (1, -1)] + [0.0] * (size % 2 == 0)
    points = torch.tensor(finite, dtype=torch.float64)[:, None]

    def values(length: int) -> Tensor:
        """Polynomials with so many coefficients -> their values at the points."""
        infinity = torch.eye(length, dtype=torch.float64)[-1:]
        return torch.cat([points ** torch.arange(length), infinity])

    result, kernel, tile = values(size).T, values(3), torch.linalg.inv(values(size + 2)).T
    lengths = torch.stack([result.norm(dim=0), kernel.norm(dim=1), tile.norm(dim=1)])
    even = lengths.log().mean(0).exp() / lengths  # each factor of a point equally large: the least rounding
    return (result * even[0]).float(), (kernel * even[1, :, None]).float(), (tile * even[2, :, None]).float()


@dataclass(frozen=True, eq=False)
class Side:
    """Rows or columns of a map."""

    results: int
    """Of the whole map."""
    size: int
    """Results of a tile."""
    tiles: int
    tile: Tensor
    """(points, pixels)."""
    result: Tensor
    """(results, points)."""
    kernel: Tensor
    """(points of a tile, 3)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How maps of one size are convolved.

    A `whole` map's matrices are those of all its tiles, whose points come down by tile and then point, across
    by point and then tile; else they are those of one tile, and maps are cut.
    """

    whole: bool
    down: Side
    across: Side
    filters: Tensor
    """(points of a tile, 9)."""

    @property
    def size(self) -> tuple[int, int]:
        """Results of a tile, down and across."""
        return self.down.size, self.across.size

    @property
    def numbers(self) -> int:
        """Points of a picture, for one channel."""
        return self.down.tiles * self.across.tiles * len(self.filters)

    def transformed(self, filters: Tensor, out: Tensor | None = None) -> Tensor:
        """(outputs, C, 3, 3) -> (points, outputs, C), into `out` if it is given."""
        filters = filters.permute(2, 3, 0, 1)
        points = filters.new_empty(len(self.filters), *filters.shape[2:]) if out is None else out
        torch.mm(self.filters, filters.reshape(9, -1), out=points.flatten(1))
        return points


@cache
def plan(height: int, width: int, even: bool = False) -> Plan:
    """With as few points as there can be; `even`: without an odd map's last row and column of results."""
    whole = max(height, width) <= WHOLE
    down, across = _side(height, whole, False, even), _side(width, whole, True, even)
    return Plan(whole, down, across, torch.kron(down.kernel, across.kernel))


def _side(length: int, whole: bool, by_point: bool, even: bool) -> Side:
    """The tiles with the fewest points; its matrices' order for `across` is by point."""
    results = length - length % 2 if even and length > 1 else length
    size = min(POINTS, key=lambda m: (ceil(results / m) * (m + 2), m))
    tiles = ceil(results / size)
    result, kernel, tile = transforms(size)
    if not whole:
        return Side(results, size, tiles, tile, result, kernel)
    padded = tile.new_zeros(tiles, size + 2, tiles * size + 2)
    wanted = tile.new_zeros(tiles * size, tiles, size + 2)
    for number in range(tiles):
        first = number * size
        padded[number, :, first : first + size + 2] = tile
        wanted[first : first + size, number] = result
    # Pixels beyond the map are zero, and results beyond it are not wanted.
    padded, wanted = padded[:, :, 1 : 1 + length], wanted[:results]
    if by_point:
        padded, wanted = padded.transpose(0, 1), wanted.transpose(1, 2)
    return Side(results, size, tiles, padded.reshape(-1, length), wanted.reshape(results, -1), kernel)


@lru_cache(maxsize=4096)
def pays(input: tuple[int, ...], outputs: int, use: str = "ready", even: bool = False) -> bool:
    """Whether it is faster than direct convolution for an input (N, C, H, W) and so many outputs.

    Direct convolution computes an odd map's last row and column of results all the same.
    """
    n, c, h, w = input
    way, (moving, filtering) = plan(h, w, even), COSTS[use]
    tiles = n * way.numbers * (c * outputs + moving * (c + outputs))
    reads = way.down.tiles if way.whole else 1
    filters = filtering * reads * len(way.filters) * c * outputs
    return (tiles + filters + STARTING) * GAIN < 9 * n * h * w * c * outputs

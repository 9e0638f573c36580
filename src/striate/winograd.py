"""3x3 convolutions of stride 1 with a quarter of the multiplications, in PyTorch's own matrix products.

A 4x4 piece of the result depends on a 6x6 piece (a tile) of the input, and direct convolution multiplies
16 x 9 times for it. Winograd's way (Lavin & Gray 2015, arXiv 1509.09308) looks at tile and filter as
polynomials and multiplies their values at 36 points: 36 times. Both transforms are small matrices, K @ tile,
and at each point what is left is a matrix product over the channels. So it pays on CPUs where there are many
channels, and where the tiles fit the map; `pays` says whether it does. Results differ from direct
convolution's by 1e-5 of the largest or so.

Everything here is channels last: a pixel's channels lie together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

B = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]  # fmt: skip
G = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]  # fmt: skip
A = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
"""Section 4.2's transforms of tile, filter and result, for the points 0, 1, -1, 2, -2 and infinity."""


def _both_ways(rows: Sequence[Sequence[float]]) -> Tensor:
    """The matrix that does to a picture, row after row, what `rows` does to its columns and its rows."""
    matrix = torch.tensor(rows, dtype=torch.float32)
    return torch.kron(matrix, matrix)


TILE, FILTER, RESULT = _both_ways(B), _both_ways(G), _both_ways(A)
"""(36, 36), (36, 9) and (16, 36)."""

BLOCK = 1 << 20
"""Numbers of transformed tiles that are worked on at a time: 4 MB, what a processor keeps at hand. Or as many
as the transformed filters have, which every block reads."""

MOVING = 110.0
"""Multiplications in whose time one number of a tile, or of a result's, is transformed; measured."""
FILTERING = {"ready": 20.0, "training": 110.0}
"""The same for one number of a filter: transformed before and only read, or transformed with its gradient."""
NARROWEST, GAIN = 48, 1.05
"""The fewest channels, and by how much it has to be faster."""


def pays(input: tuple[int, ...], outputs: int, use: str = "ready") -> bool:
    """Whether it is faster than direct convolution for an input (N, C, H, W) and so many outputs."""
    n, c, h, w = input
    tiles = n * ceil(h / 4) * ceil(w / 4)
    multiplied = tiles * (c * outputs + MOVING * (c + outputs)) + FILTERING[use] * c * outputs
    return 36 * multiplied * GAIN < 9 * n * h * w * c * outputs


def transformed(filters: Tensor) -> Tensor:
    """(outputs, C, 3, 3) -> (36, outputs, C)."""
    return (FILTER @ filters.permute(2, 3, 0, 1).reshape(9, -1)).view(36, *filters.shape[:2])


@dataclass
class Block:
    """Rows of tiles of some pictures."""

    pictures: slice
    rows: slice
    """Of pixels of the result."""
    read: slice
    """Rows of pixels of the input that the tiles see."""
    above: int
    """Rows of zeros that the first tiles see before those of the picture."""
    shape: tuple[int, int, int]
    """Pictures, rows of tiles, tiles of a row."""


def blocks(input: tuple[int, ...], outputs: int) -> Iterator[Block]:
    """Cut an input (N, H, W, C) into blocks of nearly equal size."""
    n, h, w, c = input
    down, across = ceil(h / 4), ceil(w / 4)
    row, most = 36 * across * max(c, outputs), max(BLOCK, 18 * c * outputs)
    per = max(1, most // (row * down))
    per = ceil(n / ceil(n / per))
    deep = max(1, most // row) if per == 1 else down
    deep = ceil(down / ceil(down / deep))
    for first in range(0, n, per):
        last = min(n, first + per)
        for top in range(0, down, deep):
            end = min(down, top + deep)
            read = slice(max(0, 4 * top - 1), min(h, 4 * end + 1))
            yield Block(
                slice(first, last),
                slice(4 * top, min(h, 4 * end)),
                read,
                read.start - (4 * top - 1),
                (last - first, end - top, across),
            )


class Room:
    """Memory for the parts of one block after another."""

    def __init__(self) -> None:
        self.held: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A tensor of this shape, whose values may be anything."""
        size = torch.Size(shape).numel()
        if name not in self.held or self.held[name].numel() < size:
            self.held[name] = torch.empty(size)
        return self.held[name][:size].view(shape)


def convolve(x: Tensor, points: Tensor, room: Room, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """x (N, C, H, W), filters as `transformed` gives them -> (N, outputs, H, W); a border of one zero."""
    x = x.permute(0, 2, 3, 1)
    outputs = points.shape[1]
    y = torch.empty(len(x), outputs, *x.shape[1:3], memory_format=torch.channels_last)
    rows = y.permute(0, 2, 3, 1)
    for block in blocks(x.shape, outputs):
        tiles = _tiles(x, block, room)
        product = room("product", 36, tiles.shape[1], outputs)
        torch.bmm(tiles, points.transpose(1, 2), out=product)
        result = room("result", 16, product[0].numel())
        torch.mm(RESULT, product.flatten(1), out=result)
        place = rows[block.pictures, block.rows]
        _put(result.view(4, 4, *block.shape, outputs), place)
        if bias is not None:
            place.add_(bias)
        if relu:
            place.relu_()
    return y


def gradients(
    x: Tensor, filters: Tensor, dy: Tensor, room: Room, input: bool = True
) -> tuple[Tensor | None, Tensor]:
    """The gradients of x (None where `input` is False) and of the filters, from that of the result."""
    x, dy = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    channels, outputs = x.shape[3], dy.shape[3]
    points, dx = (transformed(filters), torch.zeros_like(x)) if input else (None, None)
    dpoints = room("dpoints", 36, outputs, channels).zero_()
    for block in blocks(x.shape, outputs):
        tiles = _tiles(x, block, room)
        pieces = room("result", 16, tiles.shape[1] * outputs)
        _take(dy[block.pictures, block.rows], pieces.view(4, 4, *block.shape, outputs))
        product = room("product", 36, tiles.shape[1], outputs)
        torch.mm(RESULT.T, pieces, out=product.view(36, -1))
        dpoints.baddbmm_(product.transpose(1, 2), tiles)
        if dx is not None and points is not None:
            torch.bmm(product, points, out=tiles)
            seen = room("seen", 36, tiles[0].numel())
            torch.mm(TILE.T, tiles.view(36, -1), out=seen)
            _lay(seen.view(36, *block.shape, channels), dx[block.pictures, block.read], block, room)
    dfilters = (FILTER.T @ dpoints.view(36, -1)).view(3, 3, outputs, channels).permute(2, 3, 0, 1)
    return None if dx is None else dx.permute(0, 3, 1, 2), dfilters


def _padded(block: Block, channels: int, room: Room) -> Tensor:
    """What the tiles of a block see: (pictures, 4 rows + 2, 4 columns + 2, channels)."""
    n, down, across = block.shape
    return room("padded", n, 4 * down + 2, 4 * across + 2, channels)


def _tiles(x: Tensor, block: Block, room: Room) -> Tensor:
    """The transformed tiles of a block of x (N, H, W, C): (36, tiles, C)."""
    channels, width = x.shape[3], x.shape[2]
    padded = _padded(block, channels, room)
    padded.zero_()
    seen = x[block.pictures, block.read]
    padded[:, block.above : block.above + seen.shape[1], 1 : 1 + width] = seen
    n, down, across, c = padded.stride()
    overlapping = padded.as_strided(
        (6, 6, *block.shape, channels), (down, across, n, 4 * down, 4 * across, c)
    )
    tiles = room("seen", 36, torch.Size(block.shape).numel() * channels)
    tiles.view(overlapping.shape).copy_(overlapping)
    points = room("tiles", *tiles.shape)
    torch.mm(TILE, tiles, out=points)
    return points.view(36, -1, channels)


def _put(pieces: Tensor, place: Tensor) -> None:
    """Pieces (4, 4, n, down, across, C) into a place (n, <= 4 down, <= 4 across, C)."""
    pieces = pieces.permute(2, 3, 0, 4, 1, 5)
    n, down, _, across, _, channels = pieces.shape
    if place.shape[1:3] == (4 * down, 4 * across):
        place.unflatten(2, (across, 4)).unflatten(1, (down, 4)).copy_(pieces)
    else:
        whole = pieces.reshape(n, 4 * down, 4 * across, channels)
        place.copy_(whole[:, : place.shape[1], : place.shape[2]])


def _take(place: Tensor, pieces: Tensor) -> None:
    """The other way round; what lies outside the place is zero."""
    _, _, n, down, across, channels = pieces.shape
    if place.shape[1:3] != (4 * down, 4 * across):
        whole = place.new_zeros(n, 4 * down, 4 * across, channels)
        whole[:, : place.shape[1], : place.shape[2]] = place
        place = whole
    pieces.copy_(place.unflatten(2, (across, 4)).unflatten(1, (down, 4)).permute(2, 4, 0, 1, 3, 5))


def _lay(seen: Tensor, place: Tensor, block: Block, room: Room) -> None:
    """Add overlapping tiles (36, n, down, across, C) up, and to what is in the place."""
    n, down, across = block.shape
    channels = seen.shape[-1]
    tiles = seen.view(6, 6, *block.shape, channels).permute(2, 3, 0, 4, 1, 5)
    # A tile's first four rows and columns are its own, the other two belong to the next one.
    laid = room("laid", n, down + 1, 4, across + 1, 4, channels)
    laid[:, down] = 0
    laid[:, :, :, across] = 0
    laid[:, :-1, :, :-1] = tiles[:, :, :4, :, :4]
    laid[:, 1:, :2, :-1] += tiles[:, :, 4:, :, :4]
    laid[:, :-1, :, 1:, :2] += tiles[:, :, :4, :, 4:]
    laid[:, 1:, :2, 1:, :2] += tiles[:, :, 4:, :, 4:]
    whole = laid.view(n, 4 * down + 4, 4 * across + 4, channels)
    place += whole[:, block.above : block.above + place.shape[1], 1 : 1 + place.shape[2]]


class Convolution(torch.autograd.Function):
    """`convolve` with gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, bias: Tensor | None, room: Room) -> Tensor:
        ctx.save_for_backward(x, filters)
        ctx.room = room
        return convolve(x, transformed(filters), room, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # ty: ignore
        dx, dfilters = gradients(*ctx.saved_tensors, dy, ctx.room, ctx.needs_input_grad[0])
        return dx, dfilters, dy.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None


class Winograd:
    """While it is entered, a network's convolutions learn this way where it pays; again and again."""

    def __init__(self, network: nn.Module) -> None:
        self.layers = [layer for layer in network.modules() if suits(layer)]
        self.room = Room()

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.forward = partial(self.run, layer)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            del layer.forward

    def run(self, layer: nn.Conv2d, input: Tensor) -> Tensor:
        """What `layer` makes of its input."""
        if takes(layer, input, "training"):
            return Convolution.apply(input, layer.weight, layer.bias, self.room)
        return nn.Conv2d.forward(layer, input)


def suits(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a 3x3 convolution of stride 1 with a border of one zero, and of enough channels."""
    return (
        type(layer) is nn.Conv2d
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == layer.padding == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and min(layer.in_channels, layer.out_channels) >= NARROWEST
    )


def takes(layer: nn.Conv2d, x: Tensor, use: str = "ready") -> bool:
    """Whether a layer that suits should work on x this way."""
    return (
        x.dim() == 4
        and x.dtype == layer.weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.is_contiguous(memory_format=torch.channels_last)
        and pays(tuple(x.shape), layer.out_channels, use)
    )

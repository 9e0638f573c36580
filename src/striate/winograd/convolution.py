"""The convolution and its gradients, block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from striate.winograd.plans import Plan, plan

BLOCK = 1 << 22
"""Numbers of transformed tiles that are worked on at a time: 16 MB. Or a quarter of what the transformed
filters have, which every block reads."""


@dataclass
class Block:
    """Rows of tiles of some pictures; all rows where maps are whole."""

    pictures: slice
    rows: slice
    """Of pixels of the result."""
    read: slice
    """Rows of pixels of the input that the tiles see."""
    above: int
    """Rows of zeros that the first tiles see before those of the picture."""
    shape: tuple[int, int, int]
    """Pictures, rows of tiles, tiles of a row."""


def blocks(input: tuple[int, ...], outputs: int, way: Plan) -> Iterator[Block]:
    """Cut an input (N, H, W, C) into blocks of nearly equal size."""
    n, h, _, c = input
    down, across, size = way.down.tiles, way.across.tiles, way.down.size
    row = way.numbers // down * max(c, outputs)
    most = max(BLOCK, len(way.filters) * c * outputs // 4)
    per = max(1, most // (row * down))
    per = ceil(n / ceil(n / per))
    deep = down if way.whole or per > 1 else max(1, most // row)
    deep = ceil(down / ceil(down / deep))
    for first in range(0, n, per):
        last = min(n, first + per)
        for top in range(0, down, deep):
            end = min(down, top + deep)
            read = slice(max(0, size * top - 1), min(h, size * end + 1))
            yield Block(
                slice(first, last),
                slice(size * top, min(way.down.results, size * end)),
                read,
                read.start - (size * top - 1),
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
            with torch.inference_mode(False):  # may be written later with inference mode off
                self.held[name] = torch.empty(size)
        return self.held[name][:size].view(shape)


@torch.no_grad()
def convolve(
    x: Tensor, points: Tensor, way: Plan, room: Room, bias: Tensor | None = None, relu: bool = False
) -> Tensor:
    """x (N, C, H, W), filters as `way.transformed` gives them -> (N, outputs, H, W); a border of one zero.

    Where `way` is even, H and W of the results are.
    """
    x = x.permute(0, 2, 3, 1)
    outputs = points.shape[1]
    size = way.down.results, way.across.results
    y = torch.empty(len(x), outputs, *size, memory_format=torch.channels_last)
    rows = y.permute(0, 2, 3, 1)
    for block in blocks(x.shape, outputs, way):
        tiles = _tiles(x, block, way, room)
        product = room("second", *tiles.shape[:3], outputs)
        for some, result in zip(tiles, product, strict=True):
            torch.bmm(some, points.transpose(1, 2), out=result)
        place = rows[block.pictures, block.rows]
        _put(_pieces(product, way, "result", room), place, block, way)
        if bias is not None:
            place.add_(bias)
        if relu:
            place.relu_()
    return y


def gradients(
    x: Tensor, filters: Tensor, dy: Tensor, way: Plan, room: Room, input: bool = True
) -> tuple[Tensor | None, Tensor]:
    """The gradients of x (None where `input` is False) and of the filters, from that of the result."""
    x, dy = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    channels, outputs = x.shape[3], dy.shape[3]
    points, dx = (_points(filters, way, room), _empty(x, way)) if input else (None, None)
    dpoints = room("dpoints", len(way.filters), outputs, channels).zero_()
    for block in blocks(x.shape, outputs, way):
        tiles = _tiles(x, block, way, room)
        product = _products(dy[block.pictures, block.rows], block, way, room)
        for some, result in zip(tiles, product, strict=True):
            dpoints.baddbmm_(result.transpose(1, 2), some)
            if points is not None:
                torch.bmm(result, points, out=some)
        if dx is not None:
            _lay(_pieces(tiles, way, "tile", room), dx[block.pictures, block.read], block, way, room)
    dfilters = (way.filters.T @ dpoints.flatten(1)).view(3, 3, outputs, channels).permute(2, 3, 0, 1)
    return None if dx is None else dx.permute(0, 3, 1, 2), dfilters


def _empty(x: Tensor, way: Plan) -> Tensor:
    """What the gradients of tiles are added to; or where those of whole maps are put."""
    return torch.empty_like(x) if way.whole else torch.zeros_like(x)


def _points(filters: Tensor, way: Plan, room: Room) -> Tensor:
    """The filters transformed, in the room's memory."""
    return way.transformed(filters, room("points", len(way.filters), *filters.shape[:2]))


def _both(down: Tensor, across: Tensor, x: Tensor, name: str, room: Room) -> Tensor:
    """(P, H), (Q, W) and x (H, W, ...) -> (P, Q, numbers): a product along either side."""
    half = room("half", len(down), x[0].numel())
    torch.mm(down, x.view(len(x), -1), out=half)
    half = half.view(len(down), x.shape[1], -1)
    both = room(name, len(down), len(across), half.shape[2])
    return torch.bmm(across.expand(len(down), -1, -1), half, out=both)


def _by_point(transformed: Tensor, way: Plan, channels: int) -> Tensor:
    """(P, Q, numbers) -> (rows of tiles, points of a tile, others, channels)."""
    down = way.down.tiles if way.whole else 1
    return transformed.view(down, len(way.filters), -1, channels)


def _tiles(x: Tensor, block: Block, way: Plan, room: Room) -> Tensor:
    """The transformed tiles of a block of x (N, H, W, C): (rows of tiles, points, others, C)."""
    channels, width = x.shape[3], x.shape[2]
    seen = x[block.pictures, block.read]
    if way.whole:
        pixels = room("pixels", *seen.shape[1:3], len(seen), channels)
        pixels.copy_(seen.permute(1, 2, 0, 3))
    else:
        (n, down, across), (high, wide) = block.shape, way.size
        padded = room("padded", n, high * down + 2, wide * across + 2, channels)
        padded.zero_()
        padded[:, block.above : block.above + seen.shape[1], 1 : 1 + width] = seen
        picture, row, pixel, one = padded.stride()
        overlapping = padded.as_strided(
            (high + 2, wide + 2, *block.shape, channels),
            (row, pixel, picture, high * row, wide * pixel, one),
        )
        pixels = room("pixels", *overlapping.shape)
        pixels.copy_(overlapping)
    return _by_point(_both(way.down.tile, way.across.tile, pixels, "first", room), way, channels)


def _products(dy: Tensor, block: Block, way: Plan, room: Room) -> Tensor:
    """What a gradient (N, H, W, outputs) is at the points: (rows of tiles, points, others, outputs)."""
    outputs = dy.shape[3]
    if way.whole:
        pieces = room("pixels", *dy.shape[1:3], len(dy), outputs)
        pieces.copy_(dy.permute(1, 2, 0, 3))
    else:
        pieces = room("pixels", *way.size, *block.shape, outputs)
        _take(dy, pieces)
    down, across = way.down.result.T, way.across.result.T
    return _by_point(_both(down, across, pieces, "second", room), way, outputs)


def _pieces(transformed: Tensor, way: Plan, of: str, room: Room) -> Tensor:
    """(rows of tiles, points, others, C) -> (H, W, numbers): results, or what tiles are the gradients of."""
    if of == "result":
        down, across = way.down.result, way.across.result
    else:
        down, across = way.down.tile.T, way.across.tile.T
    return _both(down, across, transformed.view(down.shape[1], across.shape[1], -1), "pixels", room)


def _put(pieces: Tensor, place: Tensor, block: Block, way: Plan) -> None:
    """Pieces (H, W, numbers) into a place (n, <= rows, <= columns, C)."""
    if way.whole:
        place.copy_(pieces.view(*place.shape[1:3], len(place), -1).permute(2, 0, 1, 3))
        return
    (n, down, across), (high, wide) = block.shape, way.size
    pieces = pieces.view(high, wide, n, down, across, -1).permute(2, 3, 0, 4, 1, 5)
    if place.shape[1:3] == (high * down, wide * across):
        place.unflatten(2, (across, wide)).unflatten(1, (down, high)).copy_(pieces)
    else:
        whole = pieces.reshape(n, high * down, wide * across, -1)
        place.copy_(whole[:, : place.shape[1], : place.shape[2]])


def _take(place: Tensor, pieces: Tensor) -> None:
    """The other way round, into (rows, columns, n, down, across, C); what lies outside the place is zero."""
    high, wide, n, down, across, channels = pieces.shape
    if place.shape[1:3] != (high * down, wide * across):
        whole = place.new_zeros(n, high * down, wide * across, channels)
        whole[:, : place.shape[1], : place.shape[2]] = place
        place = whole
    pieces.copy_(place.unflatten(2, (across, wide)).unflatten(1, (down, high)).permute(2, 4, 0, 1, 3, 5))


def _lay(seen: Tensor, place: Tensor, block: Block, way: Plan, room: Room) -> None:
    """Add what tiles see (H, W, numbers) to what is in the place; overlapping tiles add up."""
    n, down, across = block.shape
    if way.whole:
        return _put(seen, place, block, way)
    high, wide = way.size
    tiles = seen.view(high + 2, wide + 2, n, down, across, -1).permute(2, 3, 0, 4, 1, 5)
    channels = tiles.shape[-1]
    # A tile's first rows and columns are its own, the last two belong to the next one.
    laid = room("laid", n, down + 1, high, across + 1, wide, channels)
    laid[:, down] = 0
    laid[:, :, :, across] = 0
    laid[:, :-1, :, :-1] = tiles[:, :, :high, :, :wide]
    laid[:, 1:, :2, :-1] += tiles[:, :, high:, :, :wide]
    laid[:, :-1, :, 1:, :2] += tiles[:, :, :high, :, wide:]
    laid[:, 1:, :2, 1:, :2] += tiles[:, :, high:, :, wide:]
    whole = laid.view(n, high * (down + 1), wide * (across + 1), channels)
    place += whole[:, block.above : block.above + place.shape[1], 1 : 1 + place.shape[2]]


class Convolution(torch.autograd.Function):
    """`convolve` with gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, filters: Tensor, bias: Tensor | None, room: Room, even: bool = False
    ) -> Tensor:
        ctx.save_for_backward(x, filters)
        ctx.room, ctx.way = room, plan(*x.shape[2:], even)
        return convolve(x, _points(filters, ctx.way, room), ctx.way, room, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # ty: ignore
        dx, dfilters = gradients(*ctx.saved_tensors, dy, ctx.way, ctx.room, ctx.needs_input_grad[0])
        return dx, dfilters, dy.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None

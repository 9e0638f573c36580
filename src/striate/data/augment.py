"""Whole batches on the device: random crops, flips and colours, the evaluation window, normalisation, size.

Nothing here runs once per picture. Pictures stay uint8 until `normalise`, the last step before the network.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from striate.data.crops import crop_each
from striate.data.prepare import Prepare
from striate.data.reuse import Arrays


@dataclass(frozen=True)
class Warp:
    """What was drawn for a batch of B pictures: a shift or a crop each, then perhaps a mirror image."""

    dx: Tensor
    """int64 (B,): pixels the content moves to the right."""
    dy: Tensor
    """int64 (B,): pixels the content moves down."""
    flip: Tensor
    """bool (B,): mirrored left to right, after the shift."""
    size: tuple[int, int]
    """(height, width) of what comes out: the network's window."""
    margin: int = 0
    """Pixels that the store holds around the window."""
    reach: int = 0
    """No shift is larger than this, so nothing needs to look at the tensors to know."""
    flips: bool = False
    """Whether any picture may be mirrored."""
    scale: float = 1.0
    """What the window is resized by, last of all."""
    box: Tensor | None = None
    """float32 (B, 4) x, y, width, height in store pixels: what fills the window, in place of a shift."""

    def __len__(self) -> int:
        return len(self.dx)

    def rows(self, part: slice) -> "Warp":
        """What was drawn for some of the pictures."""
        box = None if self.box is None else self.box[part]
        return replace(self, dx=self.dx[part], dy=self.dy[part], flip=self.flip[part], box=box)

    def cpu(self) -> "Warp":
        """The same on the CPU."""
        box = None if self.box is None else self.box.cpu()
        return replace(self, dx=self.dx.cpu(), dy=self.dy.cpu(), flip=self.flip.cpu(), box=box)

    def move_points(self, xy: Tensor, picture: int | None = None) -> Tensor:
        """Points (x, y) in store pixels -> in pixels of the window, outside it where they left it.

        `xy` is (B, ..., 2), or (..., 2) of one `picture`. A point's x is mirrored at the window's middle.
        """
        shape = (-1,) + (1,) * (xy.ndim - 2) if picture is None else ()
        one = lambda drawn: drawn.view(shape) if picture is None else drawn[picture]  # noqa: E731
        if self.box is None:
            x, y = xy[..., 0] - self.margin + one(self.dx), xy[..., 1] - self.margin + one(self.dy)
        else:
            left, top, width, height = (one(side) for side in self.box.unbind(1))
            x = (xy[..., 0] - left) * (self.size[1] / width)
            y = (xy[..., 1] - top) * (self.size[0] / height)
        return torch.stack([torch.where(one(self.flip), self.size[1] - x, x), y], dim=-1) * self.scale


def draw_warp(
    n: int,
    prepare: Prepare,
    shift: int,
    flip: bool,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    area: float = 1.0,
) -> Warp:
    """Shifts in -shift..shift pixels and flips for n pictures, from torch's own (or the given CPU) generator.

    Where the store keeps a margin, a shift that is not 0 means the whole margin: crops move over real pixels.
    An `area` below 1 draws crops in place of shifts: from that share of the stored picture to all of it, as
    wide to as high as 3:4 to 4:3, anywhere (Szegedy et al. 2014, section 6). The numbers are drawn on the
    CPU, so every device sees the same ones.
    """
    if area < 1:
        shift = 0
    reach = prepare.margin if shift and prepare.margin else shift
    moves = (
        torch.randint(-reach, reach + 1, (2, n), generator=generator) if reach else torch.zeros(2, n).long()
    )
    flips = torch.rand(n, generator=generator) < 0.5 if flip else torch.zeros(n, dtype=torch.bool)
    dx, dy = moves.to(device, non_blocking=True)
    size = prepare.input[1:]
    box = _boxes(n, prepare, area, generator).to(device, non_blocking=True) if area < 1 else None
    return Warp(dx, dy, flips.to(device, non_blocking=True), size, prepare.margin, reach, flip, box=box)


def _boxes(n: int, prepare: Prepare, area: float, generator: torch.Generator | None) -> Tensor:
    """float32 (n, 4) x, y, width, height: crops of whole pixels that lie inside the stored picture."""
    _, height, width = prepare.stored
    share, shape, across, down = torch.rand(4, n, generator=generator)
    pixels = (area + (1 - area) * share) * (height * width)
    stretch = torch.exp((2 * shape - 1) * math.log(4 / 3) / 2)
    side = pixels.sqrt()
    wide, high = (side * stretch).clamp(max=width), (side / stretch).clamp(max=height)
    wide, high = wide.round().clamp(min=1), high.round().clamp(min=1)
    left, top = ((width - wide) * across).round(), ((height - high) * down).round()
    return torch.stack([left, top, wide, high], dim=1)


def warp(images: Tensor, drawn: Warp, prepare: Prepare, fill: int = 0) -> Tensor:
    """uint8 (B, C, Hs, Ws) of the store -> uint8 (B, C, H, W) moved; `fill` comes in from beyond the edge.

    One gather with the same pixel numbers for every channel: seven times as fast as indexing by rows and
    columns, four times as fast as slicing picture by picture.
    """
    if drawn.box is not None:
        return _cropped(images, drawn)
    if not drawn.reach and not drawn.flips:
        return centre(images, prepare)
    height, width = drawn.size
    beyond = max(0, drawn.reach - drawn.margin)
    if not beyond and images.device.type == "cpu" and channels_last(images):
        corner = torch.stack([drawn.margin - drawn.dx, drawn.margin - drawn.dy], dim=1)
        box = torch.cat([corner, torch.tensor([[width, height]]).expand(len(corner), 2)], dim=1)
        return crop_each(images, range(len(images)), box, drawn.flip, drawn.size)
    if beyond:
        images = _surround(images, beyond, fill)
    batch, channels, _, row = images.shape
    start = drawn.margin + beyond
    across = torch.arange(width, device=images.device)
    x = torch.where(drawn.flip[:, None], width - 1 - across, across) + (start - drawn.dx)[:, None]
    y = torch.arange(height, device=images.device) + (start - drawn.dy)[:, None]
    pixel = ((y * row)[:, :, None] + x[:, None, :]).view(batch, 1, height * width)
    moved = images.reshape(batch, channels, -1).gather(2, pixel.expand(-1, channels, -1))
    return moved.view(batch, channels, height, width)


def _cropped(images: Tensor, drawn: Warp) -> Tensor:
    """uint8 (B, C, Hs, Ws) -> uint8 (B, C, H, W): what each box shows, bilinear."""
    assert drawn.box is not None
    if images.device.type == "cpu":
        return crop_each(images, range(len(images)), drawn.box, drawn.flip, drawn.size)
    rows, columns = images.shape[2:]
    height, width = drawn.size
    left, top, wide, high = drawn.box.unbind(1)
    across = (torch.arange(width, device=images.device) + 0.5) / width
    down = (torch.arange(height, device=images.device) + 0.5) / height
    across = torch.where(drawn.flip[:, None], 1 - across, across)
    # grid_sample counts from the left edge of the picture at -1 to its right edge at 1.
    x = (left[:, None] + wide[:, None] * across) * (2 / columns) - 1
    y = (top[:, None] + high[:, None] * down) * (2 / rows) - 1
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    found = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return found.round_().to(torch.uint8)


def _surround(images: Tensor, width: int, fill: int) -> Tensor:
    """`images` with `width` pixels of `fill` on every side."""
    batch, channels, rows, columns = images.shape
    larger = images.new_full((batch, channels, rows + 2 * width, columns + 2 * width), fill)
    larger[:, :, width:-width, width:-width] = images
    return larger


def centre(images: Tensor, prepare: Prepare) -> Tensor:
    """uint8 (B, C, Hs, Ws) of the store -> the evaluation window (B, C, H, W): a view, nothing is copied."""
    _, height, width = prepare.input
    margin = prepare.margin
    return images[..., margin : margin + height, margin : margin + width]


def channels_last(images: Tensor) -> bool:
    """Whether pictures (B, C, H, W) lie in memory pixel by pixel, as photographs do."""
    return images.shape[1] > 1 and images.stride(1) == 1


def normalise(
    images: Tensor,
    prepare: Prepare,
    memory_format: torch.memory_format = torch.contiguous_format,
    memory: Arrays | None = None,
) -> Tensor:
    """uint8 (B, C, H, W) -> float32 (x/255 - mean)/std: one multiply-add a pixel.

    The layout is changed last: converting and permuting in one step takes a CPU twice as long as one by one.
    `memory` is where the result lies if it is on the CPU.
    """
    as_it_is = channels_last(images)
    x = _as_floats(images, torch.channels_last if as_it_is else torch.contiguous_format, memory)
    scale, shift = _scale_and_shift(prepare, x.shape[2:], x.device, as_it_is)
    return torch.addcmul(shift, x, scale, out=x).contiguous(memory_format=memory_format)


def _as_floats(images: Tensor, memory_format: torch.memory_format, memory: Arrays | None) -> Tensor:
    """The same numbers in float32, in that layout."""
    if memory is None or images.device.type != "cpu":
        return images.to(torch.float32, memory_format=memory_format)
    batch, channels, height, width = images.shape
    if memory_format == torch.channels_last:
        taken = memory.take((batch, height, width, channels), np.float32)
        return torch.from_numpy(taken).permute(0, 3, 1, 2).copy_(images)
    return torch.from_numpy(memory.take((batch, channels, height, width), np.float32)).copy_(images)


def resize(images: Tensor, scale: float) -> Tensor:
    """(B, C, H, W) -> `scale` times the height and width, smoothed first where that is smaller.

    Bytes stay bytes: on a CPU they take a sixth of the time that float32 takes.
    """
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    if images.dtype == torch.uint8 and images.device.type != "cpu":  # PyTorch resizes bytes on CPUs only
        return interpolate(images.float(), size, mode="bilinear", antialias=True).round().byte()
    if images.dtype == torch.uint8:
        images = images.contiguous(memory_format=torch.channels_last)
    return interpolate(images, size, mode="bilinear", antialias=True)


@lru_cache(maxsize=8)
def _scale_and_shift(
    prepare: Prepare, size: torch.Size, device: torch.device, channels_last: bool
) -> tuple[Tensor, Tensor]:
    """1/(255 std) and -mean/std, each (1, C, H, W): written out in full they are read six times faster."""
    mean = torch.tensor(prepare.mean or (0.0,) * prepare.channels, dtype=torch.float64)
    std = torch.tensor(prepare.std or (1.0,) * prepare.channels, dtype=torch.float64)
    both = torch.stack([1 / (255 * std), -mean / std]).view(2, 1, -1, 1, 1).to(device, torch.float32)
    scale, shift = both.expand(-1, -1, -1, *size)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return scale.contiguous(memory_format=layout), shift.contiguous(memory_format=layout)


def components(images: Tensor, chunk: int = 128) -> Tensor:
    """Principal components of the channels of uint8 pictures (N, C, H, W), of pixels in 0..1: float32 (C, C).

    Each column is an eigenvector of the covariance times its eigenvalue, as Krizhevsky et al. 2012 add them
    to pictures (section 4.1).
    """
    channels = images.shape[1]
    total = torch.zeros(channels, dtype=torch.float64, device=images.device)
    products = torch.zeros(channels, channels, dtype=torch.float64, device=images.device)
    for part in images.split(chunk):
        x = part.to(torch.float32).div_(255).transpose(0, 1).flatten(1)
        total += x.sum(dim=1, dtype=torch.float64)
        products += (x @ x.T).double()
    pixels = images.numel() // channels
    mean = total / pixels
    values, vectors = torch.linalg.eigh(products / pixels - torch.outer(mean, mean))
    return (vectors * values.clamp(min=0)).to(torch.float32)


def draw_colours(n: int, basis: Tensor, sigma: float) -> Tensor:
    """float32 (n, C): what to add to the channels of n pictures of pixels in 0..1; `basis` of `components`.

    `sigma` is the standard deviation of each component's factor: 0.1 in Krizhevsky et al. 2012, section 4.1.
    """
    return (sigma * torch.randn(n, len(basis))).to(basis.device, non_blocking=True) @ basis.T


def statistics(images: Tensor, chunk: int = 128) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, standard deviation) per channel of uint8 pictures (N, C, H, W), of pixels in 0..1.

    Read in chunks, so a memory-mapped store passes through. A channel of one value gets a deviation of 1/255.
    """
    total = torch.zeros(2, images.shape[1], dtype=torch.float64, device=images.device)
    for part in images.split(chunk):
        x = part.to(torch.float32)
        total[0] += x.sum(dim=(0, 2, 3), dtype=torch.float64)
        total[1] += x.square_().sum(dim=(0, 2, 3), dtype=torch.float64)
    mean, square = total / (images.numel() // images.shape[1]) / torch.tensor([[255.0], [255.0**2]]).to(total)
    std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())

"""Gradients of 3x3 filters on small maps in bfloat16, as one matrix product.

Processors with tiles (AMX) multiply 16 rows of a matrix at a time. PyTorch's convolutions give them the rows
of one picture's map, and on a map of 7 pixels across or fewer most of a tile is empty: the gradients of
filters take up to nine times as long as they should. Here the neighbourhoods of all pixels of many pictures
are written out as the rows of one matrix (Chellapilla et al. 2006), which keeps the tiles full. Forward, and
for the gradient of the maps, writing them out costs what it saves.

Everything here is channels last: a pixel's channels lie together.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from striate.winograd import Instead, suits

BLOCK = 1 << 23
"""Numbers of neighbourhoods that are written out at a time: 16 MB."""


def pays(input: tuple[int, ...], outputs: int) -> bool:
    """Whether it is faster than PyTorch's own for an input (N, C, H, W) and so many outputs: measured.

    It is rows that fill a tile badly, so their number does not matter.
    """
    wide = input[1] * outputs >= 128 * 256
    return input[0] > 0 and input[3] <= (7 if wide else 5)


def filter_gradients(x: Tensor, dy: Tensor) -> Tensor:
    """x (N, C, H, W), its convolution's gradient (N, outputs, H, W) -> (outputs, C, 3, 3), float32."""
    channels, outputs = x.shape[1], dy.shape[1]
    found = torch.zeros(outputs, 9 * channels)
    for some, their in zip(*(t.split(_pictures(x)) for t in (x, dy)), strict=True):
        n, _, h, w = some.shape
        padded = F.pad(some.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        picture, row, pixel, number = padded.stride()
        shape, stride = (n, h, w, 3, 3 * channels), (picture, row, pixel, row, number)
        around = padded.as_strided(shape, stride).reshape(-1, 9 * channels)
        found += their.permute(1, 0, 2, 3).reshape(outputs, -1) @ around
    return found.view(outputs, 3, 3, channels).permute(0, 3, 1, 2)


def _pictures(x: Tensor) -> int:
    """How many are worked on at a time."""
    return max(1, BLOCK // (9 * x[0].numel()))


class Convolution(torch.autograd.Function):
    """PyTorch's convolution of bfloat16 maps (N, C, H, W), a border of one zero, with other gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(x, filters)
        return F.conv2d(x, filters.to(x.dtype), padding=1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor]:  # ty: ignore
        x, filters = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        wanted = ctx.needs_input_grad[0]
        dx = conv2d_input(x.shape, filters.to(x.dtype), dy, padding=1) if wanted else None
        return dx, filter_gradients(x, dy)


class SmallMaps(Instead):
    """A network's filters learn this way where it pays."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__([layer for layer in network.modules() if suits(layer) and layer.bias is None])

    def run(self, layer: nn.Conv2d, input: Tensor) -> Tensor:
        """What `layer` makes of its input."""
        last = input.is_contiguous(memory_format=torch.channels_last)
        if input.dtype == torch.bfloat16 and last and pays(tuple(input.shape), layer.out_channels):
            return Convolution.apply(input, layer.weight)
        return super().run(layer, input)

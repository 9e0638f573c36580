"""The layers of a network that are convolved this way."""

from functools import partial
from typing import TypeGuard

import torch
from torch import Tensor, nn

from striate.winograd.convolution import Convolution, Room
from striate.winograd.plans import pays

NARROWEST = 48
"""The fewest channels."""


class Instead:
    """While it is entered, `run` stands in place of some convolutions' own forward; again and again."""

    def __init__(self, layers: list[nn.Conv2d]) -> None:
        self.layers = layers

    def __enter__(self) -> None:
        for layer in self.layers:
            layer.forward = partial(self.run, layer)

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            del layer.forward

    def run(self, layer: nn.Conv2d, input: Tensor) -> Tensor:
        """What `layer` makes of its input."""
        return nn.Conv2d.forward(layer, input)


class Winograd(Instead):
    """A network's convolutions learn this way where it pays."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__([layer for layer in network.modules() if suits(layer)])
        self.room = Room()

    def run(self, layer: nn.Conv2d, input: Tensor) -> Tensor:
        """What `layer` makes of its input."""
        if takes(layer, input, "training"):
            return Convolution.apply(input, layer.weight, layer.bias, self.room, even(layer))
        return super().run(layer, input)


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
        and pays(tuple(x.shape), layer.out_channels, use, even(layer))
    )


def before_pool(layer: nn.Conv2d) -> None:
    """Say that all that looks at a layer's results is a pool of 2x2 in steps of 2.

    It leaves an odd map's last row and column away, so they need not be computed.
    """
    layer.before_pool = True  # ty: ignore


def even(layer: nn.Conv2d) -> bool:
    """Whether an odd map's last row and column of results are not needed."""
    return getattr(layer, "before_pool", False)
